"""Disks that few guests have: CD-ROM, 4096-byte sectors, a driver of one's own, rings of 16 pages."""
import contextlib

from lab.checks import clean, come_up, image, queues, sha
from lab.daemon import Daemon
from lab.disk import file_system, fio, no_errors
from lab.guest import ours
from lab.say import Failed
from lab.scenario import equal

DRIVERS = "--driver /usr/lib/splitring/blk-xor.so"
# A disk of null_blk in memory whose sectors have 4096 bytes.
BIG_SECTORS = ("modprobe null_blk nr_devices=0 && mount -t configfs c /sys/kernel/config && "
               "d=/sys/kernel/config/nullb/nullb0 && mkdir $d && cd $d && echo 64 >size && echo 4096 >blocksize && "
               "echo 1 >memory_backed && echo 1 >power && blockdev --getss /dev/nullb0")


@contextlib.contextmanager
def attached(host, guest, words, vdev, size):
    """The guest has the disk for the time of the body."""
    host.good(f"xl block-attach {guest.name} '{words}'")
    guest.wait_for("the disk", f"[ $(blockdev --getsize64 /dev/{vdev}) = {size} ]")
    try:
        yield
        no_errors(guest)
    finally:
        host.good(f"xl block-detach {guest.name} {vdev}")
        guest.wait_for("its end", f"! [ -e /sys/block/{vdev} ]")


def random_image(host, name, mib):
    path = image(host, name, f"{mib}M")
    host.good(f"head -c {mib << 20} /dev/urandom >{path}")
    return path


def cdrom(lab, host, guest):
    with lab.check("a CD-ROM is read and not written, and its medium is changed"):
        first, second = random_image(host, "first.iso", 4), random_image(host, "second.iso", 6)
        with attached(host, guest, "devtype=cdrom," + ours(first, "xvdc", "ro"), "xvdc", 4 << 20):
            equal(guest.good("cat /sys/block/xvdc/ro /sys/block/xvdc/removable").split(), ["1", "1"])
            equal(sha(guest, "/dev/xvdc"), sha(host, first))
            if guest.run("dd if=/dev/zero of=/dev/xvdc bs=4k count=1 conv=fsync").status == 0:
                raise Failed("the guest could write")
            # xl cd-insert is for HVM guests. To their frontends it is no more than this.
            host.good(f"xenstore-write {guest.backend('xvdc')}/params {second}")
            guest.wait_for("the other medium", f"[ $(blockdev --getsize64 /dev/xvdc) = {6 << 20} ]")
            equal(sha(guest, "/dev/xvdc"), sha(host, second))


def big_sectors(lab, host, guest):
    with lab.check("a disk of 4096-byte sectors serves 512-byte ones, a file system and verified I/O"):
        equal(host.good(BIG_SECTORS), "4096")
        with attached(host, guest, ours("/dev/nullb0", "xvdd"), "xvdd", 64 << 20):
            equal(guest.good("cd /sys/block/xvdd/queue && cat logical_block_size physical_block_size").split(), ["512", "4096"])
            guest.good(fio("randwrite", "512", 32, "1m", disk="xvdd"))
            guest.good(fio("randrw", "512-64k", 32, "8m", disk="xvdd"))
            file_system(guest, "xvdd", mib=2)
        # What was written through sectors that are not the disk's own stands on it.
        host.good("fsck.ext4 -fn /dev/nullb0")


def drivers(lab, host, guest):
    with lab.check("a disk of the driver null takes everything and gives nothing"):
        with attached(host, guest, ours("null:size=16M", "xvdd"), "xvdd", 16 << 20):
            guest.good("dd if=/dev/xvda of=/dev/xvdd bs=64k count=256 oflag=direct && "
                       "dd if=/dev/xvdd of=/dev/null bs=64k iflag=direct && blkdiscard /dev/xvdd")
    with lab.check("a disk of a driver that the daemon has loaded: data come back, the image holds them turned"):
        path = image(host, "turned", "16M")
        with attached(host, guest, ours(f"xor:{path},key=0x21", "xvdd"), "xvdd", 16 << 20):
            guest.good(fio("randwrite", "4k-256k", 16, "8m", disk="xvdd"))
            guest.good("dd if=/dev/zero of=/dev/xvdd bs=64k count=16 conv=fsync")
        equal(host.good(f"head -c 1048576 {path} | tr -d '!' | wc -c"), "0", "bytes that are not 0x21")


def run(lab):
    host = lab.boot()
    daemon = Daemon(host, f"--threads 2 {DRIVERS}")
    pv = come_up(lab, host, "pv")
    cdrom(lab, host, pv)
    big_sectors(lab, host, pv)
    drivers(lab, host, pv)
    pv.shutdown()
    clean(lab, host, "PV")
    # Linux's frontend takes 66 MiB a queue for such rings.
    hvm = come_up(lab, host, "hvm", vcpus=2, memory=448, extra="blkfront=max_ring_page_order=4")
    queues(lab, host, hvm, order=4)
    with lab.check("HVM: discard on both queues, and a file system after it"):
        hvm.good("taskset 1 blkdiscard -l 33554432 /dev/xvda && taskset 2 blkdiscard -o 33554432 /dev/xvda")
        equal(host.good("stat -c %b /images/hvm"), "0", "blocks of the image")
        file_system(hvm)
        no_errors(hvm)
    hvm.shutdown()
    clean(lab, host, "HVM")
    with lab.check("splitringd ends when told, with status 0"):
        equal(daemon.stop(), 0)
