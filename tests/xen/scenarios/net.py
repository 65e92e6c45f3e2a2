"""Stock Linux guests (PV, PVH, HVM) whose eth0 splitringd serves: traffic, offloads, the toolstack, kill -9."""
from lab.daemon import Daemon, leftovers
from lab.net import DOM0, Server, bridge_linux, gbits, iperf, own_address, up, vif_linux, vif_ours
from lab.netchecks import (between, come_up, jumbo, link, mac, multicast, offloads, recovery, second_vif, traffic,
                           two_queues)
from lab.say import say
from lab.scenario import equal

TAP = "xentap"
KILLS = 5


def start(host):
    host.good("modprobe tun")
    daemon = Daemon(host, f"--bridge xenbr0=tap:{TAP} --net-threads 2")
    host.wait_for(TAP, f"[ -e /sys/class/net/{TAP} ]")
    own_address(host, TAP)
    return daemon


def rates(host, one, other):
    """Gb/s of `one` to and from dom0 and another guest: {what: rate}."""
    found = {}
    for way, options in (("out", "-t 3"), ("in", "-t 3 -R")):
        for name, server, address in (("dom0", host, DOM0), ("a guest", other, f"10.9.0.{other.number}")):
            with Server(server):
                found[f"{way}, {name}"] = gbits(iperf(one, address, options))
    return found


def beside_linux(lab, host, daemon, one, other):
    """The same iperf3 over Linux's netback in the same boot, with new vifs of the same guests."""
    with lab.check("the same iperf3 over Linux's netback in the same boot; splitringd ends when told, with status 0"):
        ours = rates(host, one, other)
        for guest in (one, other):
            host.good(f"xl network-detach {guest.name} 0")
            guest.wait_for("its end", "! [ -e /sys/class/net/eth0 ]")
        equal(daemon.stop(), 0)
        bridge_linux(host)
        for guest in (one, other):
            host.good(f"xl network-attach {guest.name} {vif_linux(mac(guest.number)).replace(',', ' ')}")
            up(guest, guest.number)
        for what, rate in rates(host, one, other).items():
            say(f"{what}: ours {ours[what]:.3f}, Linux {rate:.3f} Gb/s: {ours[what] / rate:.2f}x")


def run(lab):
    host = lab.boot()
    daemon = start(host)

    pv = come_up(lab, host, "pv", 2, vif_ours(mac(2)))
    traffic(lab, host, pv)
    offloads(lab, host, pv, TAP)
    jumbo(lab, host, pv, TAP)
    multicast(lab, host, pv, TAP)
    link(lab, pv)
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
    beside_linux(lab, host, daemon, pv, pvh)
    pv.shutdown()
    pvh.destroy()
    with lab.check("nothing is left in xenstore, no grant is mapped, the guests are gone"):
        equal(leftovers(host), [])
