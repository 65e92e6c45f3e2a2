#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Two testpmds with a vif between them, each with a driver of ours, for a second in each direction.

    test_testpmd.py NET_XENBACK NET_XENFRONT
"""
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, f"{os.environ['SR_SOURCE']}/tests/e2e/tools")
from harness import Machine, Skip, main  # noqa: E402

BACK, FRONT = sys.argv[1:3]
PATIENCE_S = 40


def nodes(machine, domid):
    """A vif's, as a toolstack makes them."""
    front, back = f"/local/domain/{domid}/device/vif/0", f"/local/domain/0/backend/vif/{domid}/0"
    store = machine.xenstore
    store("write", front, "", back, "")
    store("chmod", front, f"n{domid}", "r0")
    store("chmod", back, "n0", f"r{domid}")
    store("write", f"{front}/backend", back, f"{front}/backend-id", "0", f"{front}/handle", "0",
          f"{front}/mac", "00:16:3e:00:00:01", f"{front}/state", "1")
    store("write", f"{back}/frontend", front, f"{back}/frontend-id", str(domid), f"{back}/handle", "0",
          f"{back}/mac", "00:16:3e:00:00:01", f"{back}/online", "1", f"{back}/state", "1")


class Testpmd:
    def __init__(self, machine, driver, device, mode, mbufs):
        name = os.path.basename(driver).split(".")[0]
        # Its words come through a pipe, which stdio would fill first.
        command = ["stdbuf", "-oL", "dpdk-testpmd", "--no-huge", "-m", "128", "--no-pci", "--no-telemetry",
                   "--no-shconf", "--file-prefix", f"{name}-{os.getpid()}", "--lcores", "0@0,1@0",
                   "-d", driver, "--vdev", device, "--", "-i", "--nb-cores=1", f"--forward-mode={mode}",
                   f"--total-num-mbufs={mbufs}", "--no-flush-rx"]
        self.output = ""
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, bufsize=1,
                                        # Where DPDK makes a directory for what it would share.
                                        env=dict(os.environ, RUNTIME_DIRECTORY=machine.temp.name))
        os.set_blocking(self.process.stdout.fileno(), False)

    def wait(self, pattern):
        """What follows is not said before the pattern has come."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                self.output += os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.02)
            found = re.search(pattern, self.output, re.S)
            if found:
                self.output = self.output[found.end():]
                return found
            if self.process.poll() is not None:
                break
        raise AssertionError(f"no {pattern!r} in:\n{self.output}")

    def say(self, words):
        self.process.stdin.write(words + "\n")

    def packets(self, what):
        """RX or TX, of all that its port has counted."""
        self.say("show port stats 0")
        return int(self.wait(rf"{what}-packets: (\d+)").group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            try:
                self.say("quit")
                self.process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()


def traffic(back_mode, front_mode):
    if not shutil.which("dpdk-testpmd"):
        raise Skip("no dpdk-testpmd here")
    with Machine() as machine:
        machine.good("create", machine.guest("a", memory=64))
        domid = machine.domain("a")["domid"]
        nodes(machine, domid)
        address = machine.address()
        with Testpmd(machine, BACK, f"net_xenback0,hypervisor={address},domid={domid},device=0",
                     back_mode, 4096) as back:
            back.wait("testpmd> ")
            with Testpmd(machine, FRONT, f"net_xenfront0,hypervisor={address}#{domid},device=0",
                         front_mode, 2048) as front:
                front.wait("testpmd> ")
                receiver, sender = (back, front) if back_mode == "rxonly" else (front, back)
                receiver.say("start")
                sender.say("start")
                time.sleep(1)
                sender.say("stop")
                sender.wait("Done\\.")
                time.sleep(0.2)
                receiver.say("stop")
                receiver.wait("Done\\.")
                sent, received = sender.packets("TX"), receiver.packets("RX")
                print(f"# {sent} sent, {received} received")
                assert received > 1000, f"only {received} packets arrived"
                # The frontend counts what has been answered; what both rings hold is on its way.
                assert abs(sent - received) <= 1024, f"{sent} sent, {received} arrived"


def test_guest_sends():
    """net_xenfront sends, net_xenback counts."""
    traffic("rxonly", "txonly")


def test_guest_receives():
    """net_xenback sends, net_xenfront counts."""
    traffic("txonly", "rxonly")


main([test_guest_sends, test_guest_receives])
