"""What scenarios check of guests on disks of splitringd; each check is a line of TAP."""
import random
import time

from .daemon import leftovers
from .disk import Load, file_system, fio, no_errors
from .guest import ours
from .say import Failed
from .scenario import equal


def image(host, name, size="64M"):
    path = f"/images/{name}"
    host.good(f"rm -f {path}; truncate -s {size} {path}")
    return path


def sha(machine, path):
    return machine.good(f"sha256sum {path}").split()[0]


def clean(lab, host, what):
    with lab.check(f"{what}: nothing is left in xenstore, no grant is mapped, the guest is gone"):
        equal(leftovers(host), [])


def come_up(lab, host, kind, **options):
    """A guest of that kind and name with a disk of 64 MiB, /images/KIND."""
    path = image(host, kind)
    with lab.check(f"{kind.upper()}: a guest comes up with a disk of ours"):
        guest = host.create(kind, kind, [ours(path)], **options)
        equal(guest.good("blockdev --getsize64 /dev/xvda"), str(64 << 20))
        return guest
    raise Failed(f"no guest to go on with: {kind}")


def basics(lab, host, guest):
    """What each kind of guest does with its disk."""
    kind, path = guest.kind.upper(), f"/images/{guest.name}"
    with lab.check(f"{kind}: mkfs.ext4, files written, read and compared, umount, fsck"):
        file_system(guest)
    with lab.check(f"{kind}: dom0's fsck finds the same file system in the image"):
        host.good(f"fsck.ext4 -fn {path}")
    for depth in (1, 32):
        with lab.check(f"{kind}: fio verifies 4 KiB to 1 MiB at depth {depth}"):
            for bs, size in (("4k", "1m"), ("64k", "4m"), ("1m", "16m")):
                guest.good(fio("randwrite", bs, depth, size), 120)
            guest.good(fio("randrw", "512", depth, "64k"), 120)
            guest.good(fio("randwrite", "4k-256k", depth, "8m"), 120)
            no_errors(guest)
    with lab.check(f"{kind}: what it wrote and flushed is in the image"):
        guest.good("head -c 4194304 /dev/urandom >/tmp/r; dd if=/tmp/r of=/dev/xvda bs=256k conv=fsync 2>&1")
        flushes = int(guest.good("awk '{print $16}' /sys/block/xvda/stat"))
        if not flushes:
            raise Failed("the guest's kernel counts no flush")
        equal(host.good(f"head -c 4194304 {path} | sha256sum").split()[0], sha(guest, "/tmp/r"))
    with lab.check(f"{kind}: discard makes the image shrink, and reads as zeroes"):
        host.good("sync")
        before = int(host.good(f"stat -c %b {path}"))
        guest.good("blkdiscard /dev/xvda")
        after = int(host.good(f"stat -c %b {path}"))
        if not after < before / 4:
            raise Failed(f"{before} blocks before, {after} after")
        guest.good("head -c 1048576 /dev/zero | cmp -n 1048576 - /dev/xvda")


def devices(lab, host, guest):
    """What the toolstack does to a guest that runs."""
    kind = guest.kind.upper()
    with lab.check(f"{kind}: a live resize is seen by the guest"):
        old = int(guest.good("blockdev --getsize64 /dev/xvda"))
        host.good(f"truncate -s {old + (16 << 20)} /images/{guest.name}; "
                  f"xenstore-write {guest.backend()}/refresh 1")
        guest.wait_for("the new size", f"[ $(blockdev --getsize64 /dev/xvda) = {old + (16 << 20)} ]")
        guest.good("dd if=/tmp/r of=/dev/xvda bs=1M seek=70 count=4 conv=fsync 2>&1")
    with lab.check(f"{kind}: a read-only disk is read and not written"):
        path = image(host, "ro", "8M")
        host.good(f"head -c 8388608 /dev/urandom >{path}")
        host.good(f"xl block-attach {guest.name} '{ours(path, 'xvdc', 'ro')}'")
        guest.wait_for("the disk", "[ $(blockdev --getsize64 /dev/xvdc) = 8388608 ]")
        equal(guest.good("cat /sys/block/xvdc/ro"), "1")
        if guest.run("dd if=/dev/zero of=/dev/xvdc bs=4k count=1 conv=fsync").status == 0:
            raise Failed("the guest could write")
        equal(sha(guest, "/dev/xvdc"), sha(host, path))
        host.good(f"xl block-detach {guest.name} xvdc")
    with lab.check(f"{kind}: block-attach and block-detach, five times, while another disk is loaded"):
        load = Load(guest, bs="16k", depth=8, size="8m")
        for turn in range(5):
            path = image(host, f"extra{turn}", "8M")
            host.good(f"xl block-attach {guest.name} '{ours(path, 'xvdb')}'")
            guest.wait_for("the disk", "[ $(blockdev --getsize64 /dev/xvdb) = 8388608 ]")
            guest.good("dd if=/tmp/r of=/dev/xvdb bs=64k conv=fsync 2>&1; cmp -n 4194304 /tmp/r /dev/xvdb")
            equal(host.good(f"head -c 4194304 {path} | sha256sum").split()[0], sha(guest, "/tmp/r"))
            host.good(f"xl block-detach {guest.name} xvdb")
            guest.wait_for("its end", "! [ -e /sys/block/xvdb ]")
        load.finish()
        no_errors(guest)


def drivers(lab, host, guest):
    """What stands behind a disk: the other drivers, and a file system that takes O_DIRECT."""
    kind = guest.kind.upper()
    host.good("modprobe -a crc32c_generic ext4 && modprobe brd rd_nr=1 rd_size=65536")
    host.good("mkfs.ext4 -q /dev/ram0 && mkdir -p /direct && mount -t ext4 /dev/ram0 /direct")
    host.good("truncate -s 16M /direct/a /images/aio")
    for name, target in (("aio", "aio:/images/aio"), ("ram", "ram:size=16M"),
                         ("uring with O_DIRECT", "uring:/direct/a,direct=on"),
                         ("uring on a block device", "/dev/ram0")):
        with lab.check(f"{kind}: a disk of the driver {name} is attached, verified and detached"):
            if target == "/dev/ram0":
                host.good("umount /direct")
            host.good(f"xl block-attach {guest.name} '{ours(target, 'xvdd')}'")
            guest.wait_for("the disk", "[ $(blockdev --getsize64 /dev/xvdd) -ge 16777216 ]")
            guest.good(fio("randwrite", "4k-256k", 16, "8m", disk="xvdd"))
            host.good(f"xl block-detach {guest.name} xvdd")
            guest.wait_for("its end", "! [ -e /sys/block/xvdd ]")
            no_errors(guest)
    host.good("modprobe -r brd")


def queues(lab, host, guest, order=2):
    with lab.check(f"{guest.kind.upper()}: two queues with rings of {1 << order} pages, both loaded and verified"):
        equal(guest.good("ls /sys/block/xvda/mq | wc -l"), "2")
        guest.good(fio("randwrite", "16k", 128, "4m", "--numjobs=2 --offset_increment=8m --cpus_allowed=0,1 "
                       "--cpus_allowed_policy=split"), 120)
        node = f"/local/domain/{guest.domid}/device/vbd/51712"
        equal(host.good(f"xenstore-read {node}/multi-queue-num-queues {node}/ring-page-order").split(),
              ["2", str(order)])


def recovery(lab, daemon, guest, kills):
    kind = guest.kind.upper()
    with lab.check(f"{kind}: kill -9 of splitringd, {times(kills)} under a verifying fio: no error, data right"):
        before = daemon.log().count("ended by signal 9")
        chance = random.Random(7)
        guest.run("killall -q -9 fio")
        load = Load(guest)
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, 1.5))
            load.check()
            daemon.kill_worker()
        time.sleep(1)
        load.finish()
        no_errors(guest)
        equal(daemon.log().count("ended by signal 9") - before, kills)
    with lab.check(f"{kind}: after that the disk is as good as before"):
        file_system(guest)


def destroy(lab, guest):
    with lab.check(f"{guest.kind.upper()}: xl destroy in mid-write ends it"):
        Load(guest, rw="randwrite", bs="64k", depth=32, size="32m")
        guest.destroy()


def times(count):
    return "once" if count == 1 else f"{count} times"
