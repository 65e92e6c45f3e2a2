"""Stock Linux guests (PV, PVH, HVM) on disks of splitringd: what an operator does, and kill -9."""
from lab.checks import basics, clean, come_up, destroy, devices, drivers, queues, recovery
from lab.daemon import Daemon
from lab.scenario import equal

KILLS = 20


def shut_down(lab, host, guest):
    with lab.check(f"{guest.kind.upper()}: a clean shutdown"):
        guest.shutdown()
    clean(lab, host, guest.kind.upper())
    host.good("rm -f /images/*")


def run(lab, release="bookworm", kills=KILLS):
    host = lab.boot(release)
    daemon = Daemon(host, "--threads 2")

    pv = come_up(lab, host, "pv")
    basics(lab, host, pv)
    devices(lab, host, pv)
    drivers(lab, host, pv)
    recovery(lab, daemon, pv, kills)
    shut_down(lab, host, pv)

    # Linux's frontend takes 66 MiB a queue for rings of 16 pages, so a small guest can't have them.
    pvh = come_up(lab, host, "pvh", vcpus=2, memory=256, extra="blkfront=max_ring_page_order=2")
    basics(lab, host, pvh)
    queues(lab, host, pvh)
    devices(lab, host, pvh)
    destroy(lab, pvh)
    clean(lab, host, "PVH")

    hvm = come_up(lab, host, "hvm")
    basics(lab, host, hvm)
    recovery(lab, daemon, hvm, 1)
    shut_down(lab, host, hvm)

    with lab.check("splitringd ends when told, with status 0"):
        equal(daemon.stop(), 0)
