"""One PV guest with a disk of Linux's own xen-blkback: the smallest scenario, to start yours from."""
from lab.guest import linux
from lab.scenario import equal


def run(lab):
    host = lab.boot()
    with lab.check("dom0 runs a command and tells how it ended"):
        equal(host.good("cat /sys/hypervisor/type"), "xen")
        equal(host.run("exit 3").status, 3)
    host.good("modprobe -a loop xen_blkback && truncate -s 64M /images/a && losetup /dev/loop0 /images/a")
    with lab.check("a PV guest comes up with a disk"):
        guest = host.create("pv", "pv", [linux("/dev/loop0")])
        equal(guest.good("blockdev --getsize64 /dev/xvda"), str(64 << 20))
    with lab.check("it makes a file system, and files in it are read as they were written"):
        guest.good("mkfs.ext4 -q /dev/xvda && mount -t ext4 /dev/xvda /mnt")
        guest.good("dd if=/dev/urandom of=/tmp/a bs=1M count=8 && cp /tmp/a /mnt/ && umount /mnt")
        guest.good("mount -t ext4 /dev/xvda /mnt && cmp /tmp/a /mnt/a && umount /mnt")
        guest.good("fsck.ext4 -fn /dev/xvda")
    with lab.check("it shuts down, and nothing of it is left in xenstore"):
        guest.shutdown()
        equal(host.nodes("/local/domain/0/backend/vbd"), [])
