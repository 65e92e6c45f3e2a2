#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Uplinks of the port `dpdk` beyond the machine's own TAP: AF_PACKET, AF_XDP, memif, pcap files; hugepages."""
import contextlib
import os
import re
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_daemon import Machine, Skip, equal, finish, main, need, nics, start, wait  # noqa: E402

PID = os.getpid()
NETNS, NEAR, FAR = f"sr-{PID}", f"sra{PID}", f"srb{PID}"
HUGE = "/sys/kernel/mm/hugepages/hugepages-2048kB"
HUGE_PAGES = 320  # more than the 512 MiB that the daemon wants
PCAP = struct.Struct("<IHHiIII")
RECORD = struct.Struct("<IIII")
BROADCAST, STRANGER = b"\xff" * 6, bytes.fromhex("00163e0000aa")


# Not `ip netns exec`, which wants a /sys of its own and so a root that is a mount.
INSIDE = ("nsenter", f"--net=/run/netns/{NETNS}")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def neighbour():
    """A network stack behind a veth: 10.9.0.100. What it sends has whole checksums, as on a wire."""
    run("ip", "netns", "add", NETNS)
    try:
        run("ip", "link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", NETNS)
        run("ip", "link", "set", NEAR, "up")
        for command in ("ip link set lo up", f"ip addr add 10.9.0.100/24 dev {FAR}", f"ip link set {FAR} up",
                        f"ethtool -K {FAR} tx off"):
            run(*INSIDE, *command.split())
        yield
    finally:
        subprocess.run(["ip", "link", "delete", NEAR], check=False, capture_output=True)
        run("ip", "netns", "delete", NETNS)


def pings(m, number, address):
    out = finish(m, start(m, number, f"ping -c 5 -i 0.1 -w 15 {address}"))
    assert int(re.search(r"(\d+) received", out)[1]) >= 5, out


def streams(m, number, address, *options):
    """TCP to a server there: the bytes that arrived."""
    server = subprocess.Popen([*INSIDE, "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL)
    try:
        out = finish(m, start(m, number, f"sh -c 'sleep 1; iperf3 -t 2 -f k -c {address} {' '.join(options)}'"))
    finally:
        server.kill()
        server.wait()
    got = re.search(r"([\d.]+) ([KMG])Bytes .*receiver", out)
    assert got, out
    assert float(got[1]) * {"K": 1, "M": 1 << 10, "G": 1 << 20}[got[2]] > 100, out


def test_af_packet():
    """AF_PACKET: ping, and TCP both ways, to a stack behind a veth"""
    need("ip", "ping", "iperf3", "ethtool")
    with neighbour(), Machine() as m:
        m.start_daemon("--bridge", f"xenbr0=dpdk:net_af_packet0,iface={NEAR}")
        pings(m, 1, "10.9.0.100")
        streams(m, 2, "10.9.0.100")
        streams(m, 3, "10.9.0.100", "-R")


def test_af_xdp():
    """AF_XDP: ping"""
    need("ip", "ping", "ethtool")
    with neighbour(), Machine() as m:
        try:
            run("ip", "link", "set", NEAR, "xdp", "off")
        except subprocess.CalledProcessError as why:
            raise Skip(f"this kernel has no XDP: {why.stderr.strip()}") from why
        m.start_daemon("--bridge", f"xenbr0=dpdk:net_af_xdp0,iface={NEAR}")
        pings(m, 1, "10.9.0.100")


def test_memif():
    """memif: the bridges of two daemons are one; without jumbo frames, which it has not"""
    need("ping")
    with Machine() as here, Machine() as there:
        socket = here.path("memif")
        for m, role in (here, "server"), (there, "client"):
            config = m.write("splitringd.conf", "uplink_mtu = 9000\n")
            m.start_daemon("--config", config, "--bridge",
                           f"xenbr0=dpdk:net_memif0,role={role},socket={socket},socket-abstract=no")
        start(here, 1, "sleep 1000")
        pings(there, 2, "10.9.0.1")


def frame(to, of, data):
    return to + of + b"\x88\xb5" + data.ljust(46, b"\0")


def test_pcap():
    """pcap files: what one holds arrives at a guest, and what the guest sends is in the other"""
    need("ping")
    with Machine() as m:
        packet = frame(BROADCAST, STRANGER, b"out of a file")
        with open(m.path("in.pcap"), "wb") as file:
            file.write(PCAP.pack(0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
            file.write(RECORD.pack(1, 0, len(packet), len(packet)) + packet)
        out = m.path("out.pcap")
        m.start_daemon("--bridge", f"xenbr0=dpdk:net_pcap0,rx_pcap={m.path('in.pcap')},tx_pcap={out},"
                                   "infinite_rx=1")
        name = start(m, 1, "ping -c 60 -i 0.1 -W 1 10.9.0.2")
        wait("a frame of the file", lambda: [v for v in nics(m, name) if v["rx"]["packets"] > 10] or
             not m.domain(name))
        finish(m, name)
        equal(m.stop_daemon(), 0)
        with open(out, "rb") as file:
            data = file.read()
        asked = frame(BROADCAST, bytes.fromhex("00163e000001"), b"")[:12] + b"\x08\x06"
        assert asked in data, "no ARP request of the guest in the file"


@contextlib.contextmanager
def hugepages():
    try:
        with open(f"{HUGE}/nr_hugepages", "r+", encoding="ascii") as file:
            before = int(file.read())
            file.seek(0)
            file.write(str(before + HUGE_PAGES))
    except OSError as why:
        raise Skip(f"no hugepages here: {why.strerror}") from why
    try:
        yield
    finally:
        with open(f"{HUGE}/nr_hugepages", "w", encoding="ascii") as file:
            file.write(str(before))


def free_hugepages():
    with open(f"{HUGE}/free_hugepages", encoding="ascii") as file:
        return int(file.read())


def test_hugepages():
    """hugepages are used where enough of them are free, and given back"""
    need("ping")
    with hugepages():
        free = free_hugepages()
        if free < HUGE_PAGES:
            raise Skip(f"the kernel finds memory for {free} hugepages of {HUGE_PAGES}")
        with Machine() as m:
            m.start_daemon()
            start(m, 1, "sleep 1000")
            assert free_hugepages() < free, "none is used"
            pings(m, 2, "10.9.0.1")
            equal(m.stop_daemon(), 0)
        wait("the hugepages to be free", lambda: free_hugepages() == free)


main([test_af_packet, test_af_xdp, test_memif, test_pcap, test_hugepages])
