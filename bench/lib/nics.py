"""Two guests with Linux's network stack on one bridge of splitringd, and traffic whose every byte is checked."""
import os
import re
import shutil
import subprocess
import time

from .fio import Failed

SERVER, CLIENT = "server", "client"
ADDRESSES = {SERVER: "10.83.0.1", CLIENT: "10.83.0.2"}
MACS = {SERVER: "00:16:3e:00:53:01", CLIENT: "00:16:3e:00:53:02"}


def lacking():
    """What this machine lacks for such a guest, as one line; None: nothing."""
    if not shutil.which("ip"):
        return "no ip command here (package iproute2)"
    inside = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    for command, what in ((["true"], "no new network namespace"),
                          (["ip", "tuntap", "add", "t0", "mode", "tap"], "no TAP")):
        done = subprocess.run([*inside, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{what} may be made here ({(done.stderr.strip().splitlines() or ['no reason told'])[-1]})"
    return None


class Nics:
    """Creates the guests and lets them exchange traffic."""

    def __init__(self, machine):
        self.machine = machine

    def create(self, name, command):
        config = self.machine.path(f"{name}.cfg")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'name = "{name}"\nmemory = 64\nkernel = "{self.machine.build}/tools/guest-net"\n'
                       f'extra = "--ip {ADDRESSES[name]}/24 -- {command}"\n'
                       f'vif = [ "mac={MACS[name]},bridge=demo0" ]\n')
        self.machine.splitring("create", config)

    def console(self, name):
        return self.machine.splitring("console", name, check=False)

    def list(self):
        """What the backend counts, by guest's address."""
        return {v["mac"]: v for v in self.machine.json("network-list")}

    def wait(self, what, condition, seconds, progress=None):
        deadline, told = time.monotonic() + seconds, time.monotonic()
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"waited {seconds} s for {what}; the consoles: "
                             f"{self.console(SERVER)[-300:]} {self.console(CLIENT)[-300:]}")
            time.sleep(0.05)
            if progress and time.monotonic() - told >= 1:
                told = time.monotonic()
                progress(self.list().get(MACS[CLIENT], {}))

    def alive(self, name):
        return any(d["name"] == name for d in self.machine.json("list"))

    def exchange(self, verify, seconds, progress):
        """
        The guests send each other verified TCP both ways at once for so long, then datagrams for half of it.
        progress(device) is called every second with what network-list says of the client's vif. Gives
        what was verified, and what the backend has counted.
        """
        # It stays when it has served, as its vif's counters do.
        self.create(SERVER, f"sh -c '{verify} serve && exec sleep 60'")
        self.wait("the server", lambda: "ready\n" in self.console(SERVER), 20)
        self.create(CLIENT, f"{verify} run {ADDRESSES[SERVER]} 5300 {seconds}")
        self.wait("the traffic's end", lambda: not self.alive(CLIENT), 60, progress)
        text = self.console(CLIENT)
        tcp = re.search(r"TCP: (\d+) bytes sent, (\d+) received and right", text)
        udp = re.search(r"UDP: (\d+) datagrams back and right, (\d+) lost", text)
        if not (tcp and udp):
            raise Failed(f"the traffic was not right; the client's console: {text[-600:]}; the server's: "
                         f"{self.console(SERVER)[-600:]}")
        # The client's vif has gone with it; what one sent the other got.
        device = self.list().get(MACS[SERVER])
        if not device:
            raise Failed(f"the server's NIC is gone; its console: {self.console(SERVER)[-600:]}")
        self.machine.splitring("destroy", SERVER, check=False)
        return {"sent_bytes": int(tcp[1]), "received_bytes": int(tcp[2]), "seconds": seconds,
                "datagrams": int(udp[1]), "lost": int(udp[2]), "device": device}
