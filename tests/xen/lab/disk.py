"""What a guest does with a disk, and what has to hold then."""
from .say import Failed


def fio(rw="randwrite", bs="4k", depth=1, size="4m", more="", disk="xvda"):
    """A fio command that verifies what it wrote."""
    return (f"fio --name=v --filename=/dev/{disk} --direct=1 --ioengine=libaio --rw={rw} --bs={bs} --iodepth={depth} "
            f"--size={size} --verify=crc32c --verify_fatal=1 --randrepeat=0 --minimal {more} >/tmp/fio-{disk}.log 2>&1 "
            f"|| {{ tail -5 /tmp/fio-{disk}.log; exit 1; }}")


class Load:
    """A verifying fio that goes on until finish(), which fails if fio saw anything wrong."""

    def __init__(self, guest, more="", disk="xvda", rw="randrw", bs="4k-64k", depth=16, size="16m"):
        self.guest, self.disk = guest, disk
        self.job = guest.start(fio(rw, bs, depth, size, f"--time_based --runtime=3600 --verify_backlog=64 {more}",
                                   disk).replace("fio ", "exec fio ", 1).split(" ||")[0])
        guest.wait_for("the load's I/O", f"[ $(awk '{{print $1 + $5}}' /sys/block/{disk}/stat) -gt 20 ]")

    def check(self):
        if not self.job.running():
            raise Failed(f"fio ended by itself: {self.log()}")

    def log(self):
        return self.guest.run(f"tail -c 1500 /tmp/fio-{self.disk}.log").output

    def finish(self, timeout=60):
        self.check()
        self.job.kill(2)
        status = self.job.wait(timeout).status
        log = self.log()
        # 128: it was told to end.
        if status not in (0, 128) or "verify:" in log or "err=" in log and "err= 0" not in log:
            raise Failed(f"fio ended with {status}: {log}")


def file_system(guest, disk="xvda", mib=8):
    """mkfs, files written and compared before and after a umount, fsck."""
    guest.good(f"mkfs.ext4 -q -F /dev/{disk} && mount -t ext4 /dev/{disk} /mnt")
    guest.good(f"mkdir -p /tmp/tree && cp -r /usr/sbin/[a-m]* /tmp/tree/ 2>/dev/null; "
               f"head -c {mib << 20} /dev/urandom >/tmp/tree/random; cp -r /tmp/tree /mnt/")
    guest.good("sync; echo 3 >/proc/sys/vm/drop_caches; diff -r /tmp/tree /mnt/tree")
    guest.good(f"umount /mnt && mount -t ext4 /dev/{disk} /mnt && diff -r /tmp/tree /mnt/tree && umount /mnt")
    guest.good(f"fsck.ext4 -fn /dev/{disk}")


def errors(guest):
    """What the guest's kernel says of its disks going wrong."""
    text = guest.run("dmesg | grep -iE 'I/O error|blk_update|critical|xvd.*(fail|error)|Buffer I/O'").output.strip()
    return text


def no_errors(guest):
    text = errors(guest)
    if text:
        raise Failed(f"{guest.name}'s kernel saw errors:\n{text[:600]}")
