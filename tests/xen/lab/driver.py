"""The driver domain's image (tools/image), and a driver domain in the lab that was started from it."""
import os
import time

from .cpio import Tree
from .guest import Guest
from .image import EXT4, XENSTORE, Builder, add_daemon, write
from .say import Failed, say

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tools/image")
MODULES = ("xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-blkfront", "xen-netfront", "xen-pcifront", "tun", "bridge",
           "nvme", "ahci", "sd_mod", "e1000e", "igb", "ixgbe", "uio_pci_generic", *EXT4)
KINDS = ("pv", "pvh")
MAX_BYTES = 100 << 20
LOG, PIDFILE = "/var/log/splitringd.log", "/run/splitringd.pid"


def image(release, build, path):
    """Makes the driver domain's initramfs, if it is not up to date; its path."""
    release.fetch()
    b = Builder(release)
    b.stubs = False
    b.skeleton(f"{SOURCE}/init")
    for name, signal in (("poweroff", "USR2"), ("reboot", "TERM")):
        b.tree.data(f"/sbin/{name}", f"#!/bin/sh\nkill -{signal} 1\n", 0o755)
    b.program("/sbin/e2fsck")
    for name in XENSTORE:
        b.program(f"/usr/bin/xenstore{name}")
    add_daemon(b, build)
    b.add_modules(MODULES)
    b.busybox()
    write(b.tree, path)
    return path


def config(kind, kernel, initrd, disk):
    """The xl configuration that tools/image gives people."""
    with open(f"{SOURCE}/driver.cfg.in", encoding="utf-8") as file:
        text = file.read()
    for word, value in (("KIND", kind), ("KERNEL", kernel), ("RAMDISK", initrd), ("DISK", disk)):
        text = text.replace(f"@{word}@", value)
    return text


def with_agent(release, build, initrd, path):
    """The same image with our agent behind its console, for a kernel takes several archives one after the other."""
    b = Builder(release)
    b.tree = Tree()
    b.program("/bin/agent", f"{build}/tests/xen/agent")
    b.tree.data("/usr/bin/agent-console", "#!/bin/sh\nexec agent serve /dev/hvc0\n", 0o755)
    write(b.tree, f"{path}.agent")
    with open(f"{path}.new", "wb") as out:
        for part in (initrd, f"{path}.agent"):
            with open(part, "rb") as file:
                out.write(file.read())
    os.rename(f"{path}.new", path)


class Driver(Guest):
    """A driver domain. `text`: its configuration, as of config()."""

    def __init__(self, host, kind, text):
        super().__init__(host, "drv", kind)
        self.config = text.replace('extra = "', 'extra = "shell=agent-console ')

    def create(self, timeout=300):
        started = time.monotonic()
        super().create(timeout)
        self.wait_for("splitringd", f"test -s {PIDFILE}")
        say(f"it serves, {time.monotonic() - started:.1f} s after xl create")

    def directories(self):
        """The backend directories that it has, without those that are empty."""
        return [line for line in self.host.nodes(f"/local/domain/{self.domid}/backend") if "/frontend = " in line]

    def wait_no_directories(self, timeout=30):
        deadline = time.monotonic() + timeout
        while found := self.directories():
            if time.monotonic() > deadline:
                raise Failed(f"still there after {timeout} s: {found}")
            time.sleep(0.3)

    def pid(self):
        return int(self.good(f"head -1 {PIDFILE}"))
