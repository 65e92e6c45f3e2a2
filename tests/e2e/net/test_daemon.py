#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guests with Linux's network stack on splitringd's switch, and kill -9 of splitringd under iperf3."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

BUILD, SOURCE = os.environ["SR_BUILD"], os.environ["SR_SOURCE"]
sys.path.insert(0, f"{SOURCE}/tests/e2e/tools")
from harness import Machine, Skip, equal, main, wait  # noqa: E402

GUEST_NET = f"{BUILD}/tools/guest-net"


def need(*tools):
    if subprocess.run(["unshare", "-n", "ip", "tuntap", "add", "t0", "mode", "tap"],
                      capture_output=True, check=False).returncode:
        raise Skip("no network namespaces or no TAP here")
    for tool in tools:
        if not shutil.which(tool):
            raise Skip(f"no {tool} here")


def start(m, number, command, vif="bridge=xenbr0", options=""):
    """A guest 10.9.0.`number` that runs a command in its network."""
    name = f"g{number}"
    m.good("create", m.guest(name, GUEST_NET,
                             f"--ip 10.9.0.{number}/24 --ip fd00::{number}/64 {options} -- {command}",
                             memory=64, vif=f'["mac=00:16:3e:00:00:0{number},{vif}"]'))
    wait(f"{name}'s NIC", lambda: any(v["state"] == "connected" for v in nics(m, name)))
    return name


def nics(m, *names):
    return m.json("network-list", *names)


def finish(m, name, seconds=60):
    """What the guest has printed by its end."""
    wait(f"the end of {name}", lambda: not m.domain(name), seconds)
    return m.good("console", name)


def worker(m, other=0):
    """The worker's pid, once it is another one than that."""
    def look():
        with open(m.path("pid"), encoding="ascii") as file:
            pid = int(file.readline())
        return pid if pid != other else 0
    return wait("another worker", look)


def niceness(pid, thread):
    """Of the process' thread of that name."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii") as file:
            name, rest = file.read().split("(", 1)[1].rsplit(") ", 1)
        if name == thread:
            return int(rest.split()[16])
    raise AssertionError(f"no thread {thread}")


def may_go_first():
    return subprocess.run([sys.executable, "-c", "import os; os.nice(-10)"], capture_output=True,
                          check=False).returncode == 0


def test_ping():
    """two guests of a configuration file ping each other; what network-list tells"""
    need("ping")
    with Machine() as m:
        m.start_daemon()
        start(m, 1, "sleep 1000")
        equal(niceness(worker(m), "net-0"), -10 if may_go_first() else 0)
        for number, address in (2, "10.9.0.1"), (3, "fd00::1"):
            out = finish(m, start(m, number, f"ping -i 0.01 -c 30 -w 20 {address}"))
            # On a busy machine ping has sent another one before it sees the last answer.
            assert int(re.search(r"(\d+) received", out)[1]) >= 30, out
        vif, = nics(m, "g1")
        equal((vif["mac"], vif["bridge"], vif["queues"]), ("00:16:3e:00:00:01", "xenbr0", 1))
        assert vif["tx"]["packets"] >= 60 and vif["rx"]["packets"] >= 60, vif
        assert "xenbr0" in m.good("network-list")
        equal([(b["name"], b["vifs"], b["uplinks"]) for b in m.info()["bridges"]],
              [("xenbr0", 1, 0)])


@contextlib.contextmanager
def lasting(tap):
    """The TAP outlives its daemon, by design, and its address would be in the way of the next run."""
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "delete", tap], check=False)


def test_uplink():
    """a guest reaches the host by an uplink, but not with an address that isn't its own"""
    need("ping", "ip")
    tap = f"sr{os.getpid()}"
    with lasting(tap), Machine() as m:
        m.start_daemon("--bridge", f"xenbr0=tap:{tap}")
        wait("the TAP", lambda: os.path.exists(f"/sys/class/net/{tap}"))
        for command in (["addr", "add", "10.9.0.100/24", "dev", tap], ["link", "set", tap, "up"]):
            subprocess.run(["ip", *command], check=True)
        for number, ip, answered in (1, "10.9.0.1", True), (2, "10.9.0.77", False):
            out = finish(m, start(m, number, "ping -c 5 -i 0.1 -w 10 10.9.0.100",
                                  vif=f"bridge=xenbr0,ip={ip}"))
            equal(" 0 received" not in out, answered)


def test_attach():
    """network-attach, network-detach, and what they refuse"""
    with Machine() as m:
        m.start_daemon()
        m.good("create", m.guest("g"))
        m.good("network-attach", "g", "mac=00:16:3e:00:00:05", "bridge=a", "rate=10Mb/s")
        m.good("network-attach", "g", "bridge=b", "mtu=9000")
        first, second = nics(m, "g")
        equal((first["devid"], first["mac"], first["bridge"], first["state"]),
              (0, "00:16:3e:00:00:05", "a", "init-wait"))
        equal((first["rate_bytes"], first["rate_interval_us"]), (62500, 50000))
        equal((second["devid"], second["mtu"]), (1, 9000))
        assert second["mac"].startswith("00:16:3e:")
        m.good("network-detach", "g", "00:16:3e:00:00:05")
        m.good("network-detach", "g", "1")
        equal(nics(m), [])
        for bad, why in (("mac=1", "no address"), ("frob=1", "unknown key"), ("mtu=1", "mtu=1"),
                         ("rate=fast", "rate=fast"), ("model=e1000", "emulated"),
                         ("bridge", "no value"), ("ip=10.0.0.x", "is no address")):
            status, _, err = m.splitring("network-attach", "g", bad)
            equal(status, 1)
            assert why in err and err.count("\n") == 1, err
        equal(nics(m), [])
        status, _, err = m.splitring("network-detach", "g", "7")
        assert status == 1 and "no such NIC" in err, err


def test_link():
    """network-link: down and up, also over a restart of the worker"""
    need("ping")
    with Machine() as m:
        m.start_daemon()
        start(m, 1, "sleep 1000")
        start(m, 2, "ping -q -i 0.1 -w 300 10.9.0.1")

        def links():
            return [(v["link"], v["carrier"]) for v in nics(m, "g1")]

        def dropped():
            return nics(m, "g2")[0]["tx"]["dropped_by_reason"]["no-port"]
        equal(links(), [(True, True)])
        m.good("network-link", "g1", "0", "down")
        wait("the link to be down", lambda: links() == [(False, False)])
        before = dropped()
        wait("packets that go nowhere", lambda: dropped() > before)
        pid = worker(m)
        os.kill(pid, signal.SIGKILL)
        worker(m, pid)
        wait("the link to be down still", lambda: links() == [(False, False)])
        m.good("network-link", "g1", "00:16:3E:00:00:01", "up")
        wait("the link to be up", lambda: links() == [(True, True)])
        received = nics(m, "g1")[0]["rx"]["packets"]
        wait("packets", lambda: nics(m, "g1")[0]["rx"]["packets"] > received)
        for bad, why in (("g1", "7", "up"), "no such NIC"), (("g1", "0", "left"), "up or down"):
            status, _, err = m.splitring("network-link", *bad)
            equal(status, 1)
            assert why in err, err


def test_killed():
    """kill -9 of the worker under iperf3, again and again: the connection goes on"""
    need("iperf3")
    with Machine() as m:
        m.start_daemon()
        server = start(m, 1, "iperf3 -s")
        client = start(m, 2, "iperf3 -J -t 8 -c 10.9.0.1")
        pid = worker(m)
        for _ in range(4):
            time.sleep(1)
            os.kill(pid, signal.SIGKILL)
            pid = worker(m, pid)
        out = finish(m, client, 120)
        result = json.loads(out[out.index("{\n"):out.rindex("\n}") + 2])
        assert "error" not in result, result["error"]
        assert result["end"]["sum_received"]["bytes"] > 1 << 20, out
        equal([v["recovered"] for v in nics(m, server)], [True])


if __name__ == "__main__":
    main([test_ping, test_uplink, test_attach, test_link, test_killed])
