"""Packets between vifs through splitringd's switch: see bench/vifs.c."""
import json
import subprocess

from .testpmd import Failed

COUNTS = [2, 4, 8, 16, 32, 64, 256]
GUESTS = 16  # at most; then they have several vifs each


def create(machine, guest, each):
    """A guest's address."""
    name = f"vifs{guest}"
    config = machine.path(f"{name}.cfg")
    vifs = ", ".join(f'"mac=00:16:3e:56:{guest:02x}:{number:02x},bridge=bench0"' for number in range(each))
    with open(config, "w", encoding="utf-8") as file:
        file.write(f'name = "{name}"\nmemory = 64\nkernel = "/usr/bin/sleep"\nextra = "600"\nvif = [ {vifs} ]\n')
    machine.splitring("create", config)
    domid = next(d["domid"] for d in machine.json("list") if d["name"] == name)
    return f"{machine.address()}#{domid}"


def run(machine, count, packet, seconds, core):
    """
    Of so many vifs, each sending to the next, all guests' work on `core`: millions of packets a second, mpps
    arrived and sent_mpps were sent; one vif got fewest_mpps to most_mpps.
    """
    guests = min(count, GUESTS)
    try:
        addresses = [create(machine, guest, count // guests) for guest in range(guests)]
        command = ["taskset", "-c", str(core), f"{machine.build}/bench/bench-vifs", packet,
                   str(int(seconds * 1000)), str(count // guests), *addresses]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{count} vifs: no end") from late
        if done.returncode:
            raise Failed(f"{count} vifs: {done.stderr.strip()}")
        return json.loads(done.stdout)
    finally:
        for guest in range(guests):
            machine.splitring("destroy", f"vifs{guest}", check=False)
