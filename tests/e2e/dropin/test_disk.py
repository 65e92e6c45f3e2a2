#!/usr/bin/env python3
"""splitringd as on a Xen host, over provider `xen` and the drop-in libraries, for an embedded guest."""
import json
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.environ["SR_SOURCE"], "tests/e2e/tools"))
from harness import BUILD, Machine, equal, main, wait  # pylint: disable=wrong-import-position

VERIFY = f"{BUILD}/tools/verify"
KILLS = int(os.environ.get("SR_RECOVERY_KILLS", "100")) // 5
SIZE = 8 << 20


class XenHost(Machine):
    """The machine is named `xen`: that is where the tools look for the daemon of a Xen host."""

    def __init__(self, *options):
        super().__init__(*options)
        self.name = "xen"
        self.dir = f"{self.temp.name}/run/{self.name}"

    def start_daemon(self, *options):
        embedded, self.env = self.env, dict(
            self.env, LD_LIBRARY_PATH=f"{BUILD}/hypervisor/dropin",
            SPLITRING_HYPERVISOR=f"embedded:{self.dir}", XENSTORED_PATH=f"{self.dir}/xenstored")
        super().start_daemon(*options)
        self.env = embedded

    def address(self):
        return "xen:"

    def worker(self, other=0):
        """The worker's pid, once it is another one than that."""
        def look():
            with open(self.path("pid"), encoding="ascii") as file:
                pid = int(file.readline())
            return pid if pid != other else 0
        return wait("another worker", look)

    def requests(self):
        return sum(d.get("requests", 0) for d in self.json("block-list"))

    def load(self, name, disk, extra=""):
        self.good("create", self.guest(name, VERIFY, extra, [disk]))
        wait("I/O", lambda: self.requests() > 100)

    def finish(self, name):
        """Ends the guest's load, lets it read everything back; what it has counted."""
        os.kill(self.domain(name)["pids"][0], signal.SIGTERM)
        wait(f"the end of {name}", lambda: not self.domain(name), 120)
        out = self.good("console", name).strip()
        did = json.loads(out.splitlines()[-1])
        equal((did["errors"], did["differences"], out.count("broken")), (0, 0, 0))
        assert did["writes"], did
        return did

    def uses_dropin(self):
        with open(f"/proc/{self.worker()}/maps", encoding="ascii") as file:
            maps = file.read()
        return [f"{BUILD}/hypervisor/dropin/{lib}" in maps
                for lib in ("libxengnttab.so.1", "libxenevtchn.so.1")]


def test_disk():
    """a guest writes and verifies a file, and nothing is left afterwards"""
    with XenHost() as m:
        m.start_daemon()
        equal(m.uses_dropin(), [True, True])
        m.load("g", f"{m.image(size=SIZE)},raw,xvda,w")
        print(f"# {m.finish('g')}")
        wait("the disks to close", lambda: not m.xenstore("ls", "/local/domain/0/backend/vbd"))
        equal(m.domain("Domain-0")["event_channels"], 0)
        equal(m.stop_daemon(), 0)


def test_kills():
    """the same while the backend is killed again and again, with two guests and threads"""
    with XenHost() as m:
        m.start_daemon("--threads", "2")
        m.load("a", f"vdev=xvda,target=aio:{m.image('a', SIZE)}")
        m.load("b", f"vdev=xvdb,target=uring:{m.image('b', SIZE)}", "-d xvdb -b 65536 -q 8")
        chance = random.Random(7)
        pid = m.worker()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)
            pid = m.worker(pid)
        wait("I/O after the last one", lambda: m.requests() > 100)
        print(f"# {KILLS} kills: {m.finish('a')}, {m.finish('b')}")
        equal(m.log().count("ended by signal 9"), KILLS)
        equal(m.stop_daemon(), 0)


os.environ.pop("LD_LIBRARY_PATH", None)
main([test_disk, test_kills])
