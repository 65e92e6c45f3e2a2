"""dom0 with nothing of ours but the hotplug script, a driver domain, and small guests that it serves."""
import os
import shutil
import tempfile

from . import debian
from .driver import Driver, config, image, with_agent
from .guest import Guest
from .image import EXT4, Builder, pack, write
from .net import BRIDGE, DOM0, bridge_linux

NVME = "/dev/nvme{}n1"
# What the disks of the host are, in dom0: files for it, the driver domain's images, Debian.
LAB, IMAGES, DEBIAN = (NVME.format(number) for number in range(3))
BRIDGE_OF_GUESTS = "guests"
TINY = 'kernel = "/guest/vmlinux"\nramdisk = "/lab/tiny.img"\n'
TINY_HVM = 'ramdisk = "/lab/tiny.gz"\n'
SMALL = 112  # MiB, enough for a guest of the tiny image


def tiny(release, build, path):
    """An initramfs for guests that are next to nothing, or go on with a root file system of their own."""
    b = Builder(release)
    b.skeleton(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../guest/tiny"))
    b.program("/bin/agent", f"{build}/tests/xen/agent")
    for name in ("poweroff", "reboot"):
        b.tree.data(f"/sbin/{name}", f"#!/bin/sh\nexec busybox {name} -f\n", 0o755)
    b.add_modules(("xen-blkfront", "xen-netfront", *EXT4))
    b.busybox()
    write(b.tree, path)


def lab_disk(release, lab, folder, repo):
    """A disk for dom0 with the images that it starts, and the packages that it offers."""
    initrd = image(release, lab.build, f"{folder}/initrd.img")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        with_agent(release, lab.build, initrd, f"{place}/driver.img")
        tiny(release, lab.build, f"{place}/tiny.img")
        pack(f"{place}/tiny.img", f"{place}/tiny.gz")
        for name in os.listdir(place):
            if name.endswith((".stamp", ".agent")):
                os.remove(f"{place}/{name}")
        if repo:
            shutil.copytree(repo, f"{place}/repo")
        return debian.disk(place, f"{folder}/lab.ext4", "192M")


def empty_disk(folder, name, size):
    with tempfile.TemporaryDirectory(dir=folder) as place:
        return debian.disk(place, f"{folder}/{name}", size)


def boot(lab, whole=False, **options):
    """A host; whole: with a Debian for a guest. Its disks are kept for this boot only."""
    folder = os.path.join(os.path.dirname(lab.folder), "deploy.cache")
    os.makedirs(folder, exist_ok=True)
    release = lab.release()
    release.fetch()
    disks = [lab_disk(release, lab, folder, debian.repository(folder) if whole else None),
             empty_disk(folder, "images.ext4", "512M")]
    if whole:
        disks.append(debian.debian(release, folder))
    more = []
    for number, path in enumerate(disks):
        more += ["-drive", f"file={path},if=none,id=d{number},format=raw,snapshot=on",
                 "-device", f"nvme,drive=d{number},serial=d{number}"]
    host = lab.boot(memory=options.pop("memory", 2560), dom0_memory=768, more=more, **options)
    host.good("modprobe -a nvme crc32c_generic ext4 xen-blkback")
    host.wait_for("the disks", f"[ -e {NVME.format(len(disks) - 1)} ]")
    host.good(f"mkdir /lab && mount -t ext4 -o ro {LAB} /lab")
    bridge_linux(host)
    return host


def driver(host, kind, disks=(IMAGES,)):
    """The driver domain, from the image and by the configuration that `./dev image` makes."""
    text = config(kind, "/guest/vmlinux", "/lab/driver.img", IMAGES)
    words = ", ".join(f"'vdev=xvd{letter},format=raw,access=rw,backendtype=phy,script=block,target={disk}'"
                      for letter, disk in zip("ab", disks))
    lines = [line for line in text.splitlines() if not line.startswith(("disk =", "vif ="))]
    lines += [f"disk = [ {words} ]", f"vif = [ 'bridge={BRIDGE},script=vif-linux' ]", 'cpus = "1"', 'tsc_mode = "native"']
    found = Driver(host, kind, "\n".join(lines) + "\n")
    found.create()
    return found


def vbd(target, vdev="xvda", kind="phy", access="rw"):
    """xl's words for a disk of the driver domain's."""
    return f"backend=drv,vdev={vdev},format=raw,access={access},backendtype={kind},target={target}"


def vif(number=1):
    return f"mac=00:16:3e:01:00:{number:02x},backend=drv,bridge={BRIDGE_OF_GUESTS},script=vif-splitring"


class Small(Guest):
    """A guest of the tiny image; `number` is of its address, 0 for none."""

    def __init__(self, host, name, kind="pv", disks=(), number=0, memory=SMALL, **options):
        words = TINY_HVM if kind == "hvm" else TINY
        vifs = [vif(number) + (",type=vif" if kind == "hvm" else "")] if number else []
        super().__init__(host, name, kind, disks, memory=memory, vifs=vifs,
                         config=words + options.pop("config", ""), **options)
        self.number = number

    def create(self, timeout=300):
        super().create(timeout)
        self.up()
        return self

    def up(self):
        """Its address; comes back when dom0 can be reached over the driver domain."""
        if not self.number:
            return
        self.wait_for("eth0", "[ -e /sys/class/net/eth0 ]")
        self.good(f"ip link set lo up; ip link set eth0 up; ip addr add 10.9.0.{self.number}/24 dev eth0 2>/dev/null; true")
        self.ping()

    def ping(self, timeout=30):
        self.wait_for("the way to dom0", f"ping -c 1 -W 1 {DOM0} >/dev/null", timeout)

    def verify(self, disk="xvda", mib=2):
        """Writes what nobody knows, past the cache, and reads it back."""
        self.good(f"dd if=/dev/urandom of=/tmp/v bs=64k count={mib * 16} status=none && "
                  f"dd if=/tmp/v of=/dev/{disk} bs=64k oflag=direct conv=fsync status=none && "
                  f"dd if=/dev/{disk} bs=64k count={mib * 16} iflag=direct status=none | cmp - /tmp/v")

    def works(self):
        self.verify()
        if self.number:
            self.ping()

    def came_back(self, fresh, timeout=120):
        super().came_back(fresh, timeout)
        if fresh:
            self.up()
