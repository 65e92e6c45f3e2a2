#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""splitring capture: what it writes is opened with tshark where there is one, and read block by block."""
import collections
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

SOURCE, BUILD = os.environ["SR_SOURCE"], os.environ["SR_BUILD"]
sys.path.insert(0, f"{SOURCE}/tests/e2e/tools")
sys.path.insert(0, f"{SOURCE}/tests/e2e/net")
from harness import SPLITRING, Machine, Skip, equal, fails, main, run, wait  # noqa: E402
from test_daemon import finish, need, start, worker  # noqa: E402

Packet = collections.namedtuple("Packet", "interface inbound comment data length")


def options(data):
    """A block's options: {code: value}"""
    found, at = {}, 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from("=HH", data, at)
        if code == 0:
            break
        found[code] = data[at + 4:at + 4 + size]
        at += 4 + (size + 3) // 4 * 4
    return found


def read(path):
    """(names of the interfaces, packets, (received, dropped) by interface) of a pcapng file."""
    with open(path, "rb") as file:
        data = file.read()
    names, packets, statistics, at = [], [], {}, 0
    while at < len(data):
        kind, size = struct.unpack_from("=II", data, at)
        body = data[at + 8:at + size - 4]
        equal(struct.unpack_from("=I", data, at + size - 4)[0], size)
        if kind == 0x0a0d0d0a:
            equal((at, body[:8]), (0, struct.pack("=IHH", 0x1a2b3c4d, 1, 0)))
        elif kind == 1:
            names.append(options(body[8:])[2].decode())
        elif kind == 6:
            interface, _, _, captured, length = struct.unpack_from("=5I", body)
            found = options(body[20 + (captured + 3) // 4 * 4:])
            packets.append(Packet(names[interface], struct.unpack("=I", found[2])[0] == 1,
                                  found.get(1, b"").decode(), body[20:20 + captured], length))
        else:
            equal(kind, 5)
            found = options(body[12:])
            statistics[names[struct.unpack_from("=I", body)[0]]] = \
                struct.unpack("=Q", found[4]) + struct.unpack("=Q", found[5])
        at += size
    return names, packets, statistics


class Capture:
    """`splitring capture` beside the test."""

    def __init__(self, m, *args, **more):
        before = m.log().count("a capture begins")
        self.process = subprocess.Popen([SPLITRING, "capture", *args], env=m.env, text=True,
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)
        wait("the capture", lambda: self.process.poll() is not None
             or m.log().count("a capture begins") > before)

    def end(self, send=signal.SIGINT):
        """(its exit status, the lines that it says at the end)"""
        if send:
            self.process.send_signal(send)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


def pings(packets, interface, inbound, kind):
    """ICMP echo requests (8) or answers (0) that were passed on."""
    return [p for p in packets if (p.interface, p.inbound, p.comment) == (interface, inbound, "")
            and p.data[12:14] == b"\x08\x00" and p.data[23] == 1 and p.data[34] == kind]


def ping(m, number=2, options="-c 20", to="10.9.0.1", vif="bridge=xenbr0"):
    return finish(m, start(m, number, f"ping -i 0.02 -w 20 {options} {to}", vif))


def test_both_directions():
    """both directions of one vif and of all, whole packets, on two net threads"""
    need("ping")
    with Machine() as m:
        m.start_daemon("--net-threads", "2")
        # Before there is any NIC: those that come later are captured.
        everything = Capture(m, "-w", m.path("all"))
        start(m, 1, "sleep 1000")
        domid = m.domain("g1")["domid"]
        one = Capture(m, f"vif{domid}.0", "--write", m.path("one"))
        ping(m, options="-c 20 -s 1000 -p a5")
        for capture, path in (everything, "all"), (one, "one"):
            status, err = capture.end()
            equal(status, 0)
            assert "captured, 0 missed" in err and err.count("\n") == 1, err
        vif = f"vif{domid}.0"
        names, packets, statistics = read(m.path("one"))
        equal(names, [vif])
        for inbound, kind in (False, 8), (True, 0):
            found = pings(packets, vif, inbound, kind)
            assert len(found) >= 20, len(packets)
            for p in found:
                equal((p.length, len(p.data)), (1042, 1042))
                equal(p.data[58:], b"\xa5" * 984)
        equal(statistics, {vif: (len(packets), 0)})
        equal(oct(os.stat(m.path("one")).st_mode & 0o777), "0o600")
        names, packets, _ = read(m.path("all"))
        other = f"vif{domid + 1}.0"
        equal(sorted(names), sorted([vif, other]))
        for inbound, kind in (True, 8), (False, 0):
            assert len(pings(packets, other, inbound, kind)) >= 20
        # Each packet is there as it comes from one and as it goes to the other.
        equal(pings(packets, other, True, 8)[-1].data, pings(packets, vif, False, 8)[-1].data)


def test_tshark():
    """live into tshark, and a file that tshark opens: directions, and the reason of a drop"""
    need("ping")
    if not shutil.which("tshark"):
        raise Skip("no tshark here")
    with Machine() as m:
        m.start_daemon()
        start(m, 1, "sleep 1000")
        # An address that is not its own is not let through.
        capture = Capture(m, "-w", m.path("drops"))
        ping(m, 3, "-c 3", vif="bridge=xenbr0,ip=10.9.0.77")
        equal(capture.end()[0], 0)
        status, out, err = run("tshark", "-r", m.path("drops"), "-T", "fields", "-e", "frame.interface_name",
                               "-e", "frame.packet_flags_direction", "-e", "frame.comment",
                               "-Y", "arp && frame.comment")
        equal(status, 0)
        vif = f"vif{m.domain('g1')['domid'] + 1}.0"
        assert f"{vif}\t0x00000001\tdropped: filter" in out.splitlines(), out + err
        live = Capture(m, "g1", stdout=subprocess.PIPE)
        shark = subprocess.Popen(["tshark", "-l", "-i", "-", "-c", "30", "-Y", "icmp", "-T", "fields", "-e", "icmp.type"],
                                 stdin=live.process.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        live.process.stdout.close()
        start(m, 2, "ping -i 0.05 10.9.0.1")
        # It ends by itself, and so does what it reads from.
        out, err = shark.communicate(timeout=60)
        equal(shark.returncode, 0)
        assert set(out.split()) == {"8", "0"}, out + err
        wait("the end of what tshark reads", lambda: live.process.poll() is not None)
        equal(live.end(None)[0], 0)


def test_snaplen_and_count():
    """so many packets, so many bytes of each"""
    need("ping")
    with Machine() as m:
        m.start_daemon()
        start(m, 1, "sleep 1000")
        capture = Capture(m, "g1", "-c", "30", "-s", "64", "-w", m.path("few"))
        ping(m, options="-c 20 -s 500")
        status, err = capture.end(None)
        equal((status, err), (0, "splitring: 30 packets of 1 NICs captured, 0 missed\n"))
        _, packets, _ = read(m.path("few"))
        equal(len(packets), 30)
        assert all(len(p.data) <= 64 for p in packets)
        assert any(p.length == 542 and len(p.data) == 64 for p in packets)


def test_flood():
    """a reader that stands still, and one that is killed, cost the capture and no guest"""
    need("iperf3")
    with Machine() as m:
        m.start_daemon()
        start(m, 1, "iperf3 -s")
        still = Capture(m, "all", "-w", m.path("flood"))
        killed = Capture(m, "all", "-w", m.path("killed"))
        still.process.send_signal(signal.SIGSTOP)
        client = start(m, 2, "iperf3 -t 3 -c 10.9.0.1")
        time.sleep(1)
        killed.process.kill()
        killed.process.communicate()
        out = finish(m, client, 60)
        assert "receiver" in out, out
        still.process.send_signal(signal.SIGCONT)
        status, err = still.end()
        equal(status, 0)
        missed = int(err.split(", ")[1].split()[0])
        assert missed > 0, err
        _, packets, statistics = read(m.path("flood"))
        equal(sum(dropped for _, dropped in statistics.values()), missed)
        equal(sum(received for received, _ in statistics.values()), len(packets) + missed)
        wait("the end of both", lambda: m.log().count("a capture ends") == 2)


def test_daemon_gone():
    """a daemon that is killed ends the capture with a line, and a file that is whole"""
    need("ping")
    with Machine() as m:
        m.start_daemon()
        start(m, 1, "sleep 1000")
        capture = Capture(m, "-w", m.path("cut"))
        ping(m)
        pid = worker(m)
        os.kill(pid, signal.SIGKILL)
        status, err = capture.end(None)
        equal(status, 1)
        assert "captured, 0 missed\nsplitring: splitringd is gone, or started again" in err, err
        _, packets, _ = read(m.path("cut"))
        assert len(packets) >= 80, len(packets)
        # The next one captures.
        worker(m, pid)
        capture = Capture(m, "-c", "1", "-w", m.path("again"))
        ping(m, 3)
        equal(capture.end(None)[0], 0)


def test_usage():
    """what it refuses, in a line"""
    with Machine() as m:
        fails(m.splitring("capture", "-w", m.path("x")), 1, f"splitring: no splitringd serves domain 0; start it: "
              f"splitringd --hypervisor embedded:{m.dir}")
        m.start_daemon()
        m.good("create", m.guest("g"))
        for vif in "vif7.0", "g":
            fails(m.splitring("capture", vif), 1, f"splitring: {vif}: no such NIC; see splitring network-list"
                  if vif == "g" else "splitring: 7: no such domain; see splitring list")
        fails(m.splitring("capture", "-s", "0"), 2, "splitring: -s 0: not a number that makes sense")
        fails(m.splitring("capture", "-c", "x"), 2, "splitring: -c x: not a number that makes sense")
        fails(m.splitring("capture", "-w"), 2, "splitring: -w: it needs a value")
        fails(m.splitring("capture", "-w", "/nowhere/x"), 1,
              "splitring: /nowhere/x: can't write it: No such file or directory")
        # A terminal is no place for it.
        try:
            leader, terminal = os.openpty()
        except OSError as why:
            raise Skip(f"no terminal to be had here: {why.strerror}") from why
        done = subprocess.run([SPLITRING, "capture"], env=m.env, stdin=subprocess.DEVNULL, stdout=terminal,
                              stderr=subprocess.PIPE, text=True, timeout=20, check=False)
        os.close(leader)
        os.close(terminal)
        equal(done.returncode, 2)
        assert "-w FILE" in done.stderr and "tshark -i -" in done.stderr, done.stderr
        wait("the end of all", lambda: m.log().count("a capture begins") == m.log().count("a capture ends"))


if __name__ == "__main__":
    main([test_both_directions, test_tshark, test_snaplen_and_count, test_flood, test_daemon_gone, test_usage])
