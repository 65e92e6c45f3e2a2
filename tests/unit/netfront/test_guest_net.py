#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
guest-net: two Linux network stacks that talk over netfront. Between their vifs is a cable (wire), or,
with the program that is named by an argument, our backend and its switch.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

BUILD, SOURCE = os.environ["SR_BUILD"], os.environ["SR_SOURCE"]
sys.path.insert(0, f"{SOURCE}/tests/e2e/tools")
from harness import Machine, Skip, equal, main, run, wait  # noqa: E402

GUEST_NET = f"{BUILD}/tools/guest-net"
WIRE = f"{BUILD}/tests/unit/netfront/wire"
SERVE = sys.argv[1] if len(sys.argv) > 1 else None


class Pair:
    """Two guests, and what is between them."""

    def __init__(self, *options, left=None, right=None):
        self.sides = []
        self.own = [[*options, *(left or ())], [*options, *(right or ())]]

    def __enter__(self):
        if subprocess.run(["unshare", "-n", "ip", "tuntap", "add", "t0", "mode", "tap"],
                          capture_output=True, check=False).returncode:
            raise Skip("no network namespaces or no TAP here")
        self.machine = Machine().__enter__()
        domids = []
        for name in "a", "b":
            self.machine.good("create", self.machine.guest(name, memory=64))
            domids.append(str(self.machine.domain(name)["domid"]))
        self.domids = domids
        for number, domid in enumerate(domids, 1):
            if SERVE:
                self.attach(domid, f"00:16:3e:00:00:0{number}")
        self.connect()
        return self

    def connect(self):
        command = [SERVE, self.machine.address()] if SERVE else \
                  [WIRE, self.machine.address(), *self.domids]
        self.wire = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        equal(self.wire.stdout.readline(), "ready\n")

    def attach(self, domid, mac):
        """A vif's nodes, as a toolstack makes them."""
        front, back = f"/local/domain/{domid}/device/vif/0", f"/local/domain/0/backend/vif/{domid}/0"
        store = self.machine.xenstore
        store("write", front, "", back, "")
        store("chmod", front, f"n{domid}", "r0")
        store("chmod", back, "n0", f"r{domid}")
        store("write", f"{front}/backend", back, f"{front}/backend-id", "0",
              f"{front}/handle", "0", f"{front}/mac", mac, f"{front}/state", "1",
              f"{back}/frontend", front, f"{back}/frontend-id", domid, f"{back}/online", "1",
              f"{back}/handle", "0", f"{back}/mac", mac, f"{back}/bridge", "br0",
              f"{back}/state", "1")

    def interrupt(self):
        """The backend closes all devices, and serves them again."""
        if not SERVE:
            self.wire.send_signal(signal.SIGUSR1)
            return
        self.end_wire()
        self.connect()

    def end_wire(self):
        self.wire.terminate()
        equal(self.wire.communicate(timeout=30)[0], "")
        equal(self.wire.returncode, 0)

    def start(self, side, *command, options=(), by=()):
        """A guest whose output is `command`'s, behind the lines of guest-net's own. `by`: what starts it."""
        number = side + 1
        process = subprocess.Popen(
            [*by, GUEST_NET, f"{self.machine.address()}#{self.domids[side]}", "0",
             "--ip", f"10.9.0.{number}/24", "--ip", f"fd00::{number}/64",
             "--mac", f"00:16:3e:00:00:0{number}", *self.own[side], *options, "--", *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.sides.append(process)
        process.head = process.stdout.readline(), process.stdout.readline()
        assert process.head[1].startswith("connected: "), process.head + (process.stdout.read(),)
        return process

    def talk(self, *command, timeout=60):
        """Runs a command in the second guest, which has to succeed; its output and the report."""
        guest = self.start(1, *command)
        out, _ = guest.communicate(timeout=timeout)
        self.sides.remove(guest)
        lines = out.strip().splitlines()
        assert guest.returncode == 0, out
        report = json.loads(lines[-1])
        for key in "tx_errors", "tx_refused", "rx_errors":
            equal((key, report[key]), (key, 0))
        return "\n".join(lines[:-1]), report

    def __exit__(self, *_):
        for process in self.sides:
            process.terminate()
            process.communicate(timeout=30)
        try:
            self.end_wire()
        finally:
            self.machine.__exit__()


def need(tool):
    if not shutil.which(tool):
        raise Skip(f"no {tool} here")


def ping(pair, address, size):
    out, _ = pair.talk("ping", "-i", "0.002", "-c", "50", "-w", "20", "-s", str(size), address)
    assert "50 received" in out, out


def test_ping():
    """ping, IPv4 and IPv6, small and fragmented"""
    need("ping")
    with Pair() as pair:
        pair.start(0, "sleep", "1000")
        for address in "10.9.0.1", "fd00::1":
            for size in 8, 1400, 20000:
                ping(pair, address, size)


def test_jumbo():
    """ping with frames of 9000 bytes"""
    need("ping")
    with Pair("--mtu", "9000") as pair:
        pair.start(0, "sleep", "1000")
        ping(pair, "10.9.0.1", 8900)


def transfer(pair, *options):
    """iperf3 for a second; what the sender's report says."""
    need("iperf3")
    pair.start(0, "iperf3", "-s")
    out, report = pair.talk("iperf3", "-J", "-t", "1", "-c", *options)
    result = json.loads(out)
    assert "error" not in result, result["error"]
    assert result["end"]["sum_received"]["bytes"] > 0, out
    return report


def test_tcp():
    """TCP with TSO and blank checksums"""
    with Pair() as pair:
        report = transfer(pair, "10.9.0.1")
        # Packets of many segments have gone out as such.
        assert report["tx_bytes"] / report["tx_packets"] > 4000, report


def test_tcp6_reverse():
    """TCP over IPv6, towards the guest, two queues and four flows"""
    with Pair("--queues", "2") as pair:
        report = transfer(pair, "fd00::1", "-R", "-P", "4")
        assert report["rx_bytes"] / report["rx_packets"] > 4000, report


def test_tcp_plain():
    """TCP without any offload, one event channel"""
    with Pair("--off", "csum,tso,sg,split,control") as pair:
        report = transfer(pair, "10.9.0.1")
        assert report["rx_bytes"] / report["rx_packets"] < 1600, report


def test_udp():
    """UDP with small datagrams"""
    with Pair() as pair:
        transfer(pair, "10.9.0.1", "-u", "-l", "64", "-b", "2M")


def test_reconnect():
    """the backend closes the devices and serves them again: the connection goes on"""
    need("iperf3")
    # A backend that starts anew takes a moment, and TCP another until it tries again.
    times, seconds = (1, 10) if SERVE else (2, 4)
    with Pair("--queues", "2") as pair:
        pair.start(0, "iperf3", "-s")
        guest = pair.start(1, "iperf3", "-J", "-t", str(seconds), "-c", "10.9.0.1")
        time.sleep(1)
        for _ in range(times):
            pair.interrupt()
            time.sleep(0.5)
        out, _ = guest.communicate(timeout=60)
        pair.sides.remove(guest)
        equal(guest.returncode, 0)
        assert out.count("connected again: 2 queues") == times, out
        result = json.loads("{" + out.partition("\n{")[2].rpartition("\n}")[0] + "}")
        last = result["intervals"][-1]["sum"]
        assert last["bytes"] > 0, out


def policies(process):
    """The scheduling policies of its threads, sorted."""
    return sorted(os.sched_getscheduler(int(task)) for task in os.listdir(f"/proc/{process.pid}/task"))


def child(process):
    """Its program, which it starts once its network is up."""
    def look():
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            return file.read().split()
    return int(wait("the guest's program", look)[0])


def test_policy():
    """what moves packets lets programs have their turn; a policy that the operator has given stays"""
    with Pair("--queues", "2") as pair:
        guest = pair.start(0, "sleep", "1000")
        limit = time.monotonic() + 10
        while policies(guest).count(os.SCHED_BATCH) != 2 and time.monotonic() < limit:
            time.sleep(0.01)
        found = policies(guest)
        equal(found.count(os.SCHED_BATCH), 2)
        equal(found.count(os.SCHED_OTHER), len(found) - 2)
        equal(os.sched_getscheduler(child(guest)), os.SCHED_OTHER)
        guest = pair.start(1, "sleep", "1000", by=["chrt", "--idle", "0"])
        equal(set(policies(guest)), {os.SCHED_IDLE})


def test_interface():
    """the interface goes down and comes up again; it is deleted, which is told once"""
    need("ping")
    with Pair() as pair:
        pair.start(0, "sleep", "1000")
        out, _ = pair.talk("sh", "-c", "ip link set eth0 down && ip link set eth0 up && "
                           "ping -i 0.002 -c 50 -w 20 10.9.0.1")
        assert "50 received" in out, out
        guest = pair.start(1, "sh", "-c", "ip link delete eth0 && sleep 0.2")
        out, _ = guest.communicate(timeout=30)
        pair.sides.remove(guest)
        equal(guest.returncode, 0)
        equal(out.count("the interface is gone"), 1)


def test_ends():
    """the command's status is guest-net's; SIGTERM ends both; mistakes are told"""
    with Pair() as pair:
        guest = pair.start(1, "sh", "-c", "exit 7")
        guest.communicate(timeout=30)
        equal(guest.returncode, 7)
        guest = pair.start(0, "sleep", "1000")
        guest.terminate()
        guest.communicate(timeout=30)
        equal(guest.returncode, 128 + 15)
        pair.sides.clear()
        status, _, err = run(GUEST_NET, f"{pair.machine.address()}#{pair.domids[0]}", "5")
        equal(status, 1)
        assert "no vif 5" in err, err
        status, _, err = run(GUEST_NET, "--off", "nothing")
        equal(status, 2)
        assert "--off can't do without 'nothing'" in err, err


main([test_ping, test_jumbo, test_tcp, test_tcp6_reverse, test_tcp_plain, test_udp,
      test_reconnect, test_policy, test_interface, test_ends])
