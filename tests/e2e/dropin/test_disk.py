#!/usr/bin/env python3
"""splitringd as on a Xen host, over provider `xen` and the drop-in libraries, for an embedded guest."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SR_SOURCE"], "tests/e2e/tools"))
# pylint: disable=wrong-import-position
from harness import BUILD, XenMachine, equal, main, wait
from load import finish, kill_often, load, requests, wait_closed, worker

KILLS = int(os.environ.get("SR_RECOVERY_KILLS", "100")) // 5
SIZE = 8 << 20


def uses_dropin(m):
    with open(f"/proc/{worker(m)}/maps", encoding="ascii") as file:
        maps = file.read()
    return [f"{BUILD}/hypervisor/dropin/{lib}" in maps
            for lib in ("libxengnttab.so.1", "libxenevtchn.so.1")]


def test_disk():
    """a guest writes and verifies a file, and nothing is left afterwards"""
    with XenMachine() as m:
        m.start_daemon()
        equal(uses_dropin(m), [True, True])
        # Each of its threads has a channel of its own, to be waked by.
        own = m.domain("Domain-0")["event_channels"]
        load(m, "g", f"{m.image(size=SIZE)},raw,xvda,w")
        print(f"# {finish(m, 'g')}")
        wait_closed(m)
        equal(m.domain("Domain-0")["event_channels"], own)
        equal(m.stop_daemon(), 0)
        equal(m.domain("Domain-0")["event_channels"], 0)


def test_kills():
    """the same while the backend is killed again and again, with two guests and threads"""
    with XenMachine() as m:
        m.start_daemon("--threads", "2")
        load(m, "a", f"vdev=xvda,target=aio:{m.image('a', SIZE)}")
        load(m, "b", f"vdev=xvdb,target=uring:{m.image('b', SIZE)}", "-d xvdb -b 65536 -q 8")
        kill_often(m, KILLS, 0.1)
        wait("I/O after the last one", lambda: requests(m) > 100)
        print(f"# {KILLS} kills: {finish(m, 'a')}, {finish(m, 'b')}")
        equal(m.log().count("ended by signal 9"), KILLS)
        equal(m.stop_daemon(), 0)


os.environ.pop("LD_LIBRARY_PATH", None)
main([test_disk, test_kills])
