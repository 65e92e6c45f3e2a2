#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""256 vifs on one splitringd: traffic to each of them, rest, and all given back."""
import json
import os
import signal
import subprocess
import sys
import time

BUILD, SOURCE = os.environ["SR_BUILD"], os.environ["SR_SOURCE"]
sys.path.insert(0, f"{SOURCE}/tests/e2e/tools")
from harness import Machine, equal, main, wait  # noqa: E402

GUESTS, EACH = 16, 16


def vifs(m):
    return m.json("network-list")


def create(m, guest):
    """A guest's address."""
    name = f"g{guest}"
    macs = ", ".join(f'"mac=00:16:3e:56:{guest:02x}:{n:02x},bridge=b"' for n in range(EACH))
    m.good("create", m.guest(name, memory=64, vif=f"[ {macs} ]"))
    return f"{m.address()}#{m.domain(name)['domid']}"


def turns(m):
    """What all threads that move packets have done so far."""
    return sum(thread["loops"] for thread in m.info()["net_threads"])


def rest(m):
    before = turns(m)
    time.sleep(0.3)
    return turns(m) == before


def round_of(m):
    """All are connected, each gets packets of another one, all rest, all go on, and end with their guests."""
    addresses = [create(m, guest) for guest in range(GUESTS)]
    load = subprocess.Popen([f"{BUILD}/bench/bench-vifs", "64", "3000", str(EACH), *addresses],
                            stdout=subprocess.PIPE, text=True)
    try:
        wait("all vifs", lambda: sum(v["state"] == "connected" for v in vifs(m)) == GUESTS * EACH, 120)
        wait("packets to each vif", lambda: all(v["rx"]["packets"] for v in vifs(m)), 60)
        load.send_signal(signal.SIGSTOP)  # the guests' processors
        wait("rest", lambda: rest(m), 60)
        load.send_signal(signal.SIGCONT)
        out, _ = load.communicate(timeout=120)
    finally:
        load.kill()
        load.wait()
    equal(load.returncode, 0)
    found = json.loads(out)
    equal(found["vifs"], GUESTS * EACH)
    assert found["mpps"] > 0, found
    for guest in range(GUESTS):
        m.good("destroy", f"g{guest}")
    wait("all vifs to go", lambda: not vifs(m), 60)


def test_many():
    """256 vifs of 16 guests: packets to each, no work at rest, descriptors given back; and once more"""
    with Machine() as m:
        m.start_daemon()
        # The first NIC starts what stays, DPDK's environment.
        round_of(m)
        before = m.info()["fds"]
        assert before < GUESTS * EACH, before
        round_of(m)
        wait("its descriptors", lambda: m.info()["fds"] <= before)
        equal(m.stop_daemon(), 0)


if __name__ == "__main__":
    main([test_many])
