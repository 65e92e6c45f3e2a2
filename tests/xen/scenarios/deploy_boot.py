"""A driver domain of the image, PV and PVH; a whole Debian boots through it, installs a package, shuts down."""
import os
import time

from lab.debian import ADDRESS, INSTALLED
from lab.deploy import DEBIAN, IMAGES, Small, boot, driver, vbd, vif
from lab.disk import no_errors
from lab.guest import Guest
from lab.net import DOM0
from lab.say import Failed, say
from lab.scenario import equal

# In MiB: what is left to a driver domain of 256 while it serves.
SPARE = 24


def quotas(lab, host, drv):
    with lab.check("it is unprivileged, and dom0 has no splitringd"):
        log = drv.good("cat /var/log/splitringd.log")
        if f"serving as domain {drv.domid}" not in log:
            raise Failed(log)
        if host.run("ls /run/splitring; pidof splitringd").status == 0:
            raise Failed("dom0 has a splitringd, too")
    with lab.check(f"it has memory left: {SPARE} MiB of its 256"):
        free = int(drv.good("awk '/MemAvailable/ {print $2}' /proc/meminfo")) >> 10
        say(f"{free} MiB available")
        if free < SPARE:
            raise Failed(f"{free} MiB available")


def small_guests(lab, host, drv):
    """A disk of either sort, a NIC, and what is left of them."""
    guest = None
    with lab.check("a guest's disk (backendtype=qdisk) and NIC are served"):
        drv.good("truncate -s 16M /images/a /images/b")
        guest = Small(host, "one", "pv", [vbd("/images/a", kind="qdisk")], 11).create()
        guest.works()
        no_errors(guest)
        equal(len(drv.directories()), 2)
    with lab.check("it ends, and libxl's wait for its directories ends"):
        host.good("xl shutdown -w one", 60)
        guest.forget()
        drv.wait_no_directories()
    with lab.check("a disk of backendtype=phy: attached, verified, detached in under 10 s, its directory gone"):
        guest = Small(host, "two", "pvh", [vbd("/images/a")], 12).create()
        host.good(f"xl block-attach two {vbd('/images/b', 'xvdb')}")
        guest.wait_for("the disk", "[ -e /dev/xvdb ]")
        guest.verify("xvdb")
        started = time.monotonic()
        host.good("xl block-detach two xvdb")
        took = time.monotonic() - started
        equal(len(drv.directories()), 2)
        guest.works()
        if took > 10:
            raise Failed(f"it took {took:.1f} s")
    with lab.check("the guest is destroyed: nothing is left"):
        guest.destroy()
        drv.wait_no_directories()


class Debian(Guest):
    """A guest whose root file system is a disk of the driver domain's; commands come once it has logged in."""

    def __init__(self, host, kind="pv"):
        super().__init__(host, "debian", kind, [vbd("/dev/xvdb", kind="qdisk")], memory=320, vifs=[vif(20)],
                         extra="root=/dev/xvda", config='ramdisk = "/lab/tiny.img"\n')
        self.seen = 0  # of its log, which goes on from boot to boot

    def create(self, timeout=300):
        self.host.put("/tmp/debian.cfg", self.config)
        self.host.good("xl create /tmp/debian.cfg", timeout)
        self.domid = int(self.host.good("xl domid debian"))
        self.connect()
        self.seen = os.path.getsize(self.log.name)
        # What getty says before its prompt; that has no end of line, and comes with what is typed.
        self.wait_text("Debian GNU/Linux 12 debian hvc0", timeout)
        self.relay.write("")
        self.wait_text("debian login: ", 60)

    def wait_text(self, text, timeout):
        """Until its console says so."""
        deadline = time.monotonic() + timeout
        while True:
            with open(self.log.name, encoding="utf-8", errors="replace") as file:
                if text in file.read()[self.seen:]:
                    return
            if time.monotonic() > deadline or self.channel.dead:
                raise Failed(f"debian: no '{text}' after {timeout} s")
            time.sleep(0.3)

    def log_in(self):
        self.relay.write("root")
        self.wait_text("login: root", 60)
        self.wait_text("ABSOLUTELY NO WARRANTY", 120)
        self.relay.write("exec /run/agent serve /dev/hvc0")
        self.channel.wait_hello(60)


def whole_boot(lab, host, drv, kind):
    guest = Debian(host, kind)
    started = time.monotonic()
    with lab.check(f"{kind.upper()}: a Debian boots from our disk to its login prompt"):
        guest.create()
        say(f"the prompt is there {time.monotonic() - started:.1f} s after xl create")
    with lab.check("somebody logs in; systemd has no failed unit"):
        guest.log_in()
        guest.wait_for("systemd", "systemctl is-system-running --wait | grep -q running", 180)
        equal(guest.good("systemctl --failed --no-legend --plain").strip(), "")
    with lab.check("its NIC has the address that systemd-networkd gave it, and reaches dom0"):
        guest.wait_for("the address", f"ip addr | grep -q {ADDRESS}", 60)
        guest.good(f"for i in 1 2 3; do timeout 5 bash -c 'exec 3<>/dev/tcp/{DOM0}/8000' && exit 0; sleep 1; done; exit 1", 60)
    with lab.check("apt-get installs a package and what it needs over our NIC"):
        guest.good("apt-get -q update 2>&1", 300)
        guest.good(f"DEBIAN_FRONTEND=noninteractive apt-get -qy install {INSTALLED} 2>&1", 400)
        equal(guest.good(f"echo '[1, 2]' | {INSTALLED} length"), "2")
        text = guest.run("dmesg | grep -iE 'I/O error|blk_update|EXT4-fs error'").output.strip()
        equal(text, "", "its kernel's errors")
    with lab.check("xl shutdown: it ends by itself, its directories go"):
        host.good("xl shutdown -w debian", 200)
        guest.forget()
        drv.wait_no_directories()
    with lab.check("fsck in the driver domain finds nothing to mend"):
        drv.good("e2fsck -fn /dev/xvdb 2>&1", 200)


def run(lab, kinds=("pv", "pvh")):
    host = boot(lab, whole=True)
    host.start("exec busybox httpd -f -p 8000 -h /lab/repo")
    for kind in kinds:
        drv = None
        with lab.check(f"a driver domain of the image comes up, {kind.upper()}, 256 MiB, one vCPU"):
            drv = driver(host, kind, (IMAGES, DEBIAN))
        try:
            small_guests(lab, host, drv)
            whole_boot(lab, host, drv, "pvh" if kind == "pv" else "pv")
            quotas(lab, host, drv)
        finally:
            drv.good("cat /var/log/splitringd.log")  # into the log
        with lab.check("xl shutdown ends the driver domain, its file system is clean"):
            host.good("xl shutdown -w drv", 60)
            drv.forget()
            host.good(f"e2fsck -fn {IMAGES} 2>&1")
