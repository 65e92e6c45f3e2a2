#!/usr/bin/env python3
"""kill -9 of splitringd under a verifying load: the guest sees a pause and no error."""
import os
import signal

from harness import Machine, equal, main, wait
from load import VERIFY, finish, kill_often, load, requests, wait_closed, worker

KILLS = int(os.environ.get("SR_RECOVERY_KILLS", "100"))
SIZE = 8 << 20


def test_file():
    """a guest writes and verifies a file while its backend is killed again and again"""
    with Machine() as m:
        m.start_daemon()
        load(m, "g", f"{m.image(size=SIZE)},raw,xvda,w")
        kill_often(m, KILLS, 0.05)
        wait("I/O after the last one", lambda: requests(m) > 100)
        did = finish(m, "g")
        print(f"# {KILLS} kills: {did}")
        assert did["writes"] > KILLS, did
        equal(m.log().count("ended by signal 9"), KILLS)
        equal(m.stop_daemon(), 0)


def test_drivers():
    """the same with threads below the driver, and with two guests at once"""
    with Machine() as m:
        m.start_daemon("--threads", "2")
        load(m, "a", f"vdev=xvda,target=aio:{m.image('a', SIZE)}")
        load(m, "b", f"vdev=xvdb,target=uring:{m.image('b', SIZE)}", "-d xvdb -b 65536 -q 8")
        kill_often(m, max(KILLS // 10, 2), 0.2)
        for name in ("a", "b"):
            finish(m, name)
        equal(m.stop_daemon(), 0)


def test_attach_between():
    """a disk can be attached and detached after a recovery, and nothing is left"""
    with Machine() as m:
        m.start_daemon()
        load(m, "g", f"{m.image(size=SIZE)},raw,xvda,w")
        kill_often(m, 2, 0.05)
        m.good("block-attach", "g", "vdev=xvdb,target=null:size=1M")
        equal(len(m.json("block-list", "g")), 2)
        m.good("block-detach", "g", "xvdb")
        finish(m, "g")
        wait_closed(m)
        equal(m.json("block-list"), [])


def test_untold():
    """a worker that dies after it has published answers and before it tells of them: the next one tells"""
    with Machine() as m:
        m.start_daemon("--hypervisor", f"faulty:notify-dies=20:{m.address()}")
        # None of them lives long enough for load()'s wait for I/O.
        m.good("create", m.guest("g", VERIFY, "-q 1", [f"{m.image(size=SIZE >> 3)},raw,xvda,w"]))
        wait(f"{KILLS} deaths", lambda: m.log().count("ended by signal 9") >= KILLS, 120)
        finish(m, "g")
        equal(m.stop_daemon(), 0)


def test_guest_gone():
    """a guest that dies while its backend is dead leaves nothing either"""
    with Machine() as m:
        m.start_daemon()
        load(m, "g", f"{m.image(size=SIZE)},raw,xvda,w")
        pid, guest = worker(m), m.domain("g")["pids"][0]
        os.kill(pid, signal.SIGKILL)
        os.kill(guest, signal.SIGKILL)
        worker(m, pid)
        wait("its end", lambda: not m.domain("g"))
        wait_closed(m)
        wait("the image's lock to go", lambda: m.splitring(
            "create", m.guest("h", VERIFY, "-t 1", [f"{m.path('image')},raw,xvda,w"]))[0] == 0)


main([test_file, test_drivers, test_attach_between, test_untold, test_guest_gone])
