"""The short form of blk for each landing: a PV guest, a file system, verified I/O, one kill -9."""
from lab.checks import clean, come_up, destroy, image, recovery
from lab.daemon import Daemon
from lab.disk import file_system, fio, no_errors
from lab.guest import ours
from lab.scenario import equal


def run(lab):
    host = lab.boot()
    daemon = Daemon(host)
    pv = come_up(lab, host, "pv")
    with lab.check("PV: mkfs.ext4, files written, read and compared, umount, fsck here and in dom0"):
        file_system(pv, mib=2)
        host.good("fsck.ext4 -fn /images/pv")
    with lab.check("PV: fio verifies 4 KiB to 1 MiB at depth 32"):
        for bs, size in (("4k", "1m"), ("4k-256k", "4m"), ("1m", "8m")):
            pv.good(fio("randwrite", bs, 32, size), 120)
        no_errors(pv)
    recovery(lab, daemon, pv, 1)
    with lab.check("PV: block-attach, I/O and block-detach of a second disk"):
        path = image(host, "b", "8M")
        host.good(f"xl block-attach pv '{ours(path, 'xvdb')}'")
        pv.wait_for("the disk", "[ $(blockdev --getsize64 /dev/xvdb) = 8388608 ]")
        pv.good(fio("randwrite", "64k", 8, "4m", disk="xvdb"))
        host.good("xl block-detach pv xvdb")
    destroy(lab, pv)
    clean(lab, host, "PV")
    with lab.check("splitringd ends when told, with status 0"):
        equal(daemon.stop(), 0)
