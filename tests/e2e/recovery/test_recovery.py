#!/usr/bin/env python3
"""kill -9 of splitringd under a verifying load: the guest sees a pause and no error."""
import json
import os
import random
import signal
import time

from harness import BUILD, Machine, equal, main, wait

VERIFY = f"{BUILD}/tools/verify"
KILLS = int(os.environ.get("SR_RECOVERY_KILLS", "100"))
SIZE = 8 << 20


def worker(m, other=0):
    """The worker's pid, once it is another one than that."""
    def look():
        with open(m.path("pid"), encoding="ascii") as file:
            pid = int(file.readline())
        return pid if pid != other else 0
    return wait("another worker", look)


def requests(m):
    return sum(d.get("requests", 0) for d in m.json("block-list"))


def kill_often(m, kills, longest):
    """Kills worker after worker, each after up to `longest` seconds of its life."""
    chance = random.Random(7)
    pid = worker(m)
    for _ in range(kills):
        time.sleep(chance.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        pid = worker(m, pid)


def finish(m, name):
    """Ends the guest's load, lets it read everything back; what it has counted."""
    os.kill(m.domain(name)["pids"][0], signal.SIGTERM)
    wait(f"the end of {name}", lambda: not m.domain(name), 120)
    out = m.good("console", name).strip()
    did = json.loads(out.splitlines()[-1])
    equal((did["errors"], did["differences"], out.count("broken")), (0, 0, 0))
    return did


def load(m, name, disk, extra=""):
    m.good("create", m.guest(name, VERIFY, extra, [disk]))
    wait("I/O", lambda: requests(m) > 100)


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
            assert finish(m, name)["writes"]
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
        wait("the disks to close", lambda: not m.xenstore("ls", "/local/domain/0/backend/vbd"))
        equal(m.json("block-list"), [])


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
        wait("the disks to close", lambda: not m.xenstore("ls", "/local/domain/0/backend/vbd"))
        wait("the image's lock to go", lambda: m.splitring(
            "create", m.guest("h", VERIFY, "-t 1", [f"{m.path('image')},raw,xvda,w"]))[0] == 0)


main([test_file, test_drivers, test_attach_between, test_guest_gone])
