"""Stock Linux guests (PV, PVH, HVM) whose eth0 splitringd serves: traffic, offloads, the toolstack, kill -9."""
from lab.daemon import Daemon, leftovers
from lab.net import own_address, vif_ours
from lab.netchecks import (between, come_up, jumbo, link, mac, multicast, offloads, operator, recovery, second_vif,
                           traffic, two_queues)
from lab.netspeed import TAP, compare, detach
from lab.scenario import equal

KILLS = 5


def start(host):
    host.good("modprobe tun")
    daemon = Daemon(host, f"--bridge xenbr0=tap:{TAP} --net-threads 2")
    host.wait_for(TAP, f"[ -e /sys/class/net/{TAP} ]")
    own_address(host, TAP)
    return daemon


def beside_linux(lab, host, daemon, guests):
    """The same iperf3 over Linux's netback in the same boot, with new vifs of the same guests."""
    with lab.check("splitringd ends when told, with status 0"):
        detach(host, guests)
        equal(daemon.stop(), 0)
        host.good(f"ip link del {TAP}")
    with lab.check("the same iperf3 over Linux's netback in the same boot"):
        compare(host, guests, 2)


def run(lab):
    host = lab.boot()
    daemon = start(host)

    pv = come_up(lab, host, "pv", 2, vif_ours(mac(2)))
    traffic(lab, host, pv)
    offloads(lab, host, pv, TAP)
    jumbo(lab, host, pv, TAP)
    multicast(lab, host, pv, TAP)
    link(lab, pv)
    operator(lab, host, pv)
    second_vif(lab, host, pv, vif_ours, 9)
    recovery(lab, daemon, pv, host, KILLS)

    pvh = come_up(lab, host, "pvh", 3, vif_ours(mac(3)), vcpus=2, memory=256)
    traffic(lab, host, pvh)
    offloads(lab, host, pvh, TAP)
    two_queues(lab, host, pvh)
    between(lab, pv, pvh)

    hvm = come_up(lab, host, "hvm", 4, vif_ours(mac(4), ",type=vif"))
    traffic(lab, host, hvm)
    recovery(lab, daemon, hvm, host, 1)
    hvm.destroy()
    beside_linux(lab, host, daemon, (pv, pvh))
    pv.shutdown()
    pvh.destroy()
    with lab.check("nothing is left in xenstore, no grant is mapped, the guests are gone"):
        equal(leftovers(host), [])
