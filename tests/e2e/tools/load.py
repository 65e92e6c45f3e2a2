"""A guest under a verifying load, whose backend may be killed again and again."""
import json
import os
import random
import signal
import time

from harness import BUILD, equal, wait

VERIFY = f"{BUILD}/tools/verify"


def worker(m, other=0):
    """The worker's pid, once it is another one than that."""
    def look():
        with open(m.path("pid"), encoding="ascii") as file:
            pid = int(file.readline())
        return pid if pid != other else 0
    return wait("another worker", look)


def requests(m):
    return sum(d.get("requests", 0) for d in m.json("block-list"))


def load(m, name, disk, extra=""):
    """A new guest that writes and verifies `disk` until finish()."""
    m.good("create", m.guest(name, VERIFY, extra, [disk]))
    wait("I/O", lambda: requests(m) > 100)


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
    assert did["writes"], did
    return did


def wait_closed(m):
    wait("the disks to close", lambda: not m.xenstore("ls", "/local/domain/0/backend/vbd"))
