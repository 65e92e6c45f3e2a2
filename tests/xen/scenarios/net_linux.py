"""The checks of scenario net, with Linux's own netback in our place: what they ask for can be had."""
from lab.net import BRIDGE, bridge_linux, vif_linux
from lab.netchecks import between, come_up, jumbo, link, mac, multicast, offloads, second_vif, traffic


def run(lab):
    host = lab.boot()
    bridge_linux(host)
    a = come_up(lab, host, "pv", 2, vif_linux(mac(2)))
    traffic(lab, host, a)
    offloads(lab, host, a, BRIDGE)
    jumbo(lab, host, a, BRIDGE)
    multicast(lab, host, a, BRIDGE)
    link(lab, a)
    second_vif(lab, host, a, vif_linux, 9)
    b = come_up(lab, host, "pvh", 3, vif_linux(mac(3)))
    between(lab, a, b)
