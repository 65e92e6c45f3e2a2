"""Hostile guests on splitringd's disks, while a stock guest's verified I/O goes on."""
import time

from lab.checks import image
from lab.daemon import Daemon, leftovers
from lab.disk import Load, file_system, no_errors
from lab.guest import ours
from lab.scenario import equal
from lab.suite import run_suite

# A kernel that leaves the disks to our programs, and the devices that these need.
NO_BLKFRONT = "module_blacklist=xen_blkfront"
MODULES = "modprobe -a xen_evtchn xen_gntdev && modprobe xen_gntalloc limit=8192"
STAGES = ("created", "opened", "InitWait", "ring granted", "Initialised", "Connected", "busy", "answered",
          "Closing", "Closed")
LETTERS = "abcdefghij"  # their disks
FIRST_DEVID, DEVID_STEP = 51712, 16
SEEDS, SECONDS = (11, 12), 4
TAKE = ("d=/local/domain/0/backend/vbd/{domid}/{devid}; xenstore-write $d/online 0 $d/state 5; "
        "xenstore-rm $d; xenstore-rm /local/domain/{domid}/device/vbd/{devid}")


class Watch:
    """The daemon, and a guest that nothing happens to."""

    def __init__(self, host):
        self.host, self.daemon = host, Daemon(host, "--driver /usr/lib/splitring/held.so")
        self.guest = host.create("good", "pv", [ours(image(host, "good", "32M"))])
        # So much that it is in flight all the time, so little that others get on.
        self.load = Load(self.guest, "--rate_iops=100")
        self.pid = self.daemon.pid()
        self.fds = self.count_fds()

    def count_fds(self):
        return int(self.host.good(f"ls /proc/{self.pid}/fd | wc -l"))

    def requests(self):
        return int(self.guest.good("awk '{print $1 + $5}' /sys/block/xvda/stat"))

    def well(self):
        """The same worker serves, and the good guest's I/O goes on and verifies."""
        equal(self.daemon.pid(), self.pid, "the worker")
        before = self.requests()
        self.guest.wait_for("the good guest's I/O", f"[ $(awk '{{print $1 + $5}}' /sys/block/xvda/stat) -gt {before + 20} ]")
        self.load.check()
        no_errors(self.guest)

    def nothing_left(self, name):
        """Of a guest that has gone: no node, no grant, no descriptor of the worker's."""
        node = f"/local/domain/0/backend/vbd/{name}"
        self.host.wait_for("the devices to go", f"! xenstore-ls {node} 2>/dev/null | grep -q frontend", 20)
        self.host.wait_for("the worker's descriptors", f"[ $(ls /proc/{self.pid}/fd | wc -l) -eq {self.fds} ]", 10)
        self.host.wait_for("the end of the domain", "[ $(xl list | wc -l) -eq 3 ]", 20)


def evil(host, name, disks, kind="pv"):
    guest = host.create(name, kind, disks, memory=160, extra=NO_BLKFRONT)
    guest.good(MODULES)
    return guest


def cases(lab, host, watch, kind, seeds):
    """The embedded suite's cases, as programs of the guest, and the random ones."""
    what = kind.upper()
    guest = evil(host, "evil", [ours(image(host, "evil", "16M")), ours(image(host, "ro", "16M"), "xvdb", "ro"),
                                ours("held:disk", "xvdc"), ours("held:switch", "xvdd")], kind)
    for name in ("ring", "nodes", "requests"):
        run_suite(lab, guest, f"guest-hostile-{name}", f"{what}: {name}", 400)
        with lab.check(f"{what}: {name}: the good guest's I/O went on, and the same worker serves"):
            watch.well()
    for seed in seeds:
        with lab.check(f"{what}: random guest of seed {seed}, killed after {SECONDS} s: the good guest's I/O goes on"):
            job = guest.start(f"exec hostile-blkfront xen: {FIRST_DEVID} {seed}")
            time.sleep(SECONDS)
            watch.well()
            assert job.running(), job.output
            job.kill()
    with lab.check(f"{what}: destroyed after all that, nothing of it is left"):
        guest.destroy()
        watch.nothing_left(guest.domid)
        watch.well()


def at_every_stage(host, name):
    """A guest with a disk at each stage of the handshake."""
    host.good(f"rm -f /images/{name}*; for i in {' '.join(LETTERS)}; do truncate -s 16M /images/{name}-$i; done")
    guest = evil(host, name, [ours(f"/images/{name}-{letter}", f"xvd{letter}") for letter in LETTERS])
    numbers = [str(FIRST_DEVID + i * DEVID_STEP) for i in range(len(STAGES))]
    guest.start(f"exec guest-hostile-stages {' '.join(numbers)} >/tmp/stages 2>&1")
    guest.wait_for("the stages", "grep -q ready /tmp/stages")
    time.sleep(1)
    return guest, numbers


def states(host, guest, numbers):
    """How the frontends' and backends' states are, as a word for each disk."""
    return [host.good(f"echo $(xenstore-read /local/domain/{guest.domid}/device/vbd/{n}/state "
                      f"/local/domain/0/backend/vbd/{guest.domid}/{n}/state)") for n in numbers]


def run(lab):
    host = lab.boot()
    watch = Watch(host)
    cases(lab, host, watch, "pv", SEEDS)
    cases(lab, host, watch, "pvh", SEEDS[:1])
    guest, numbers = at_every_stage(host, "taken")
    for stage, number in zip(STAGES, numbers):
        with lab.check(f"a disk taken by force at stage '{stage}': its nodes stay away, the worker lives"):
            host.good(TAKE.format(domid=guest.domid, devid=number))
            host.wait_for("the device to go", f"! xenstore-ls /local/domain/0/backend/vbd/{guest.domid}/{number} >/dev/null 2>&1")
    with lab.check("after all were taken the guest lives, the good one's I/O goes on"):
        watch.well()
        guest.good("true")
    with lab.check("and nothing is left when it is destroyed"):
        guest.destroy()
        watch.nothing_left(guest.domid)
    with lab.check("a guest destroyed with a disk at each handshake state: the good one's I/O goes on"):
        guest, numbers = at_every_stage(host, "dies")
        # Frontend and backend; the backend of the one that has just said Initialised has connected.
        equal(states(host, guest, numbers),
              ["1 2", "1 2", "1 2", "1 2", "3 4", "4 4", "4 4", "4 4", "5 5", "6 6"])
        guest.destroy()
        watch.well()
    with lab.check("and nothing of it is left"):
        watch.nothing_left(guest.domid)
    with lab.check("the good guest's I/O had no error, its data are right, and the worker has never changed"):
        watch.load.finish()
        file_system(watch.guest)
        no_errors(watch.guest)
        equal(watch.daemon.pid(), watch.pid)
        equal(watch.daemon.log().count("ended by signal"), 0)
        watch.guest.shutdown()
    with lab.check("no node, no grant and no guest is left, and splitringd ends with status 0"):
        equal(leftovers(host), [])
        equal(watch.daemon.stop(), 0)
