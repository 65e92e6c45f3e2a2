"""A Xen host in the lab with one guest, and the backends that take turns in serving it a disk."""
import os
import sys

from . import fio

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "xen"))
from lab.daemon import Daemon  # noqa: E402
from lab.guest import linux, ours, qdisk  # noqa: E402
from lab.host import BY_INSTRUCTIONS  # noqa: E402
from lab.scenario import Lab  # noqa: E402

SIZE_MB = 64
FILE, LOOP, RAM = "/images/disk", "/dev/loop0", "/dev/ram0"
CLOCKS = {  # of a boot
    "instructions": BY_INSTRUCTIONS,
    "real": {"accel": "tcg,thread=multi,tb-size=1024"},
}
WORKLOADS = {
    "randread-4k-1": ("randread", "4k", 1),
    "randread-4k-32": ("randread", "4k", 32),
    "randwrite-4k-32": ("randwrite", "4k", 32),
    "read-128k-8": ("read", "128k", 8),
    "write-128k-8": ("write", "128k", 8),
}
TIMEOUT = 400
CONFIG = "/tmp/splitringd.conf"
# xl's word for the guest's time stamp counter. By default Xen emulates it for a PV guest where the processor does not
# call its own steady, as the emulated one can't: each look at a clock then costs the guest microseconds. No machine
# of the last fifteen years is like that, so the bench says "native".
TSC = ("native", "default")


class Ours:
    """splitringd; `settings` are of its configuration, as KEY=VALUE."""

    def __init__(self, target, settings=()):
        self.label = " ".join(["splitring", *settings])
        self.target, self.settings = target, settings
        self.daemon = None

    def begin(self, host):
        words = (setting.split("=", 1) for setting in self.settings)
        host.put(CONFIG, "".join(f"{key} = {value if value.isdigit() else repr(value)}\n" for key, value in words))
        self.daemon = Daemon(host, f"--config {CONFIG}")
        return ours(self.target)

    def end(self, host):
        self.daemon.stop()


class Blkback:
    """Linux's own. It takes block devices only, so a file is served through a loop device."""

    label = "xen-blkback"

    def __init__(self, target):
        self.target = target

    def begin(self, host):
        # While it is loaded it takes every disk of ours too.
        host.good("modprobe xen-blkback")
        if self.target == FILE:
            host.good(f"losetup {LOOP} {FILE}")
        return linux(LOOP if self.target == FILE else self.target)

    def end(self, host):
        host.good("modprobe -r xen-blkback")
        if self.target == FILE:
            host.good(f"losetup -d {LOOP}")


class Qdisk:
    """QEMU, the one that the guest has had since it was created."""

    label = "QEMU qdisk"

    def __init__(self, target):
        self.target = target

    def begin(self, host):
        return qdisk(self.target)

    def end(self, host):
        pass


class XenHost:
    """`with XenHost(build, out, clock, tsc) as host:` boots Xen, dom0 and the guest."""

    def __init__(self, build, out, clock, tsc="native"):
        self.lab = Lab(f"bench-{clock}", os.path.abspath(build), "build/xen", out)
        self.clock, self.tsc = clock, tsc
        self.host = self.guest = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        self.host = self.lab.boot(**CLOCKS[self.clock])
        self.host.good(f"dd if=/dev/zero of={FILE} bs=1M count={SIZE_MB} && truncate -s 1M /images/small && "
                       f"modprobe loop && modprobe brd rd_nr=1 rd_size={SIZE_MB << 10} && "
                       f"dd if=/dev/zero of={RAM} bs=1M count={SIZE_MB}", TIMEOUT)
        # A disk of QEMU's from the beginning: xl starts it for a guest that has one then, and not later.
        self.guest = self.host.create("g", "pv", [qdisk("/images/small", "xvdb")],
                                      config=f'tsc_mode = "{self.tsc}"\n')

    def __exit__(self, *_):
        self.lab.end()

    def turn(self, backend, workloads, runtime):
        """Attaches a disk of that backend, runs fio on it, detaches it: figures by workload."""
        disk = backend.begin(self.host)
        self.host.good(f"xl block-attach g '{disk}'", TIMEOUT)
        self.guest.wait_for("the disk", f"[ $(blockdev --getsize64 /dev/xvda) = {SIZE_MB << 20} ]", TIMEOUT)
        figures = {name: self.run(name, runtime) for name in workloads}
        self.host.good("xl block-detach g xvda", TIMEOUT)
        self.guest.wait_for("the disk to go", "! [ -e /sys/block/xvda ]", TIMEOUT)
        self.host.wait_for("its nodes to go", "! xenstore-ls -f /local/domain/0/backend | grep -q /51712", TIMEOUT)
        backend.end(self.host)
        return figures

    def busy(self):
        """Seconds in which dom0's only processor was not idle, since it is up; good to microseconds."""
        lines = self.host.good("grep -E '^now at|idle_sleeptime' /proc/timer_list").splitlines()
        now, idle = int(lines[0].split()[2]), int(lines[1].split()[2])
        return (now - idle) / 1e9

    def run(self, name, runtime):
        rw, size, depth = WORKLOADS[name]
        command = (f"fio --name=bench --filename=/dev/xvda --direct=1 --ioengine=libaio --rw={rw} "
                   f"--bs={size} --iodepth={depth} --norandommap --time_based "
                   f"--runtime={round(runtime * 1000)}ms --output-format=json --output=/tmp/fio.json")
        before = self.busy()
        self.guest.good(command, TIMEOUT)
        spent = self.busy() - before
        result = fio.parse(self.guest.good("tr -d ' \\n\\t' </tmp/fio.json", TIMEOUT))
        if not result["total_ios"]:
            raise AssertionError(f"{name}: no I/O in {runtime:g} s of the guest's time; --runtime makes it longer")
        result["cpu_us_per_io"] = spent * 1e6 / result["total_ios"]
        return result
