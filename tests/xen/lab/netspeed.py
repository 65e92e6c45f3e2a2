"""iperf3 over splitringd and over Linux's netback, in turns and with the same guests: rates, and dom0's time."""
import json
import os

from .daemon import Daemon
from .net import BRIDGE, DOM0, Server, bridge_linux, gbits, iperf, own_address, up, vif_linux, vif_ours
from .netchecks import mac
from .say import say

TAP = "xentap"


class Ours:
    """splitringd with its defaults, and dom0's own network by a TAP device."""

    label = "splitring"
    vif = staticmethod(vif_ours)

    def __init__(self):
        self.daemon = None

    def begin(self, host):
        host.good("modprobe tun")
        self.daemon = Daemon(host, f"--bridge {BRIDGE}=tap:{TAP}")
        host.wait_for(TAP, f"[ -e /sys/class/net/{TAP} ]")
        own_address(host, TAP)

    def end(self, host):
        self.daemon.stop()
        # It outlives the daemon, and has dom0's address.
        host.good(f"ip link del {TAP}")


class Linux:
    """xen-netback and Linux's bridge."""

    label = "Linux"
    vif = staticmethod(vif_linux)

    def begin(self, host):
        bridge_linux(host)

    def end(self, host):
        host.good(f"ip link del {BRIDGE}; modprobe -r xen-netback")


def attach(host, backend, guests):
    for guest in guests:
        host.good(f"xl network-attach {guest.name} {backend.vif(mac(guest.number)).replace(',', ' ')}", 120)
        up(guest, guest.number)


def detach(host, guests):
    for guest in guests:
        host.good(f"xl network-detach {guest.name} 0", 120)
        guest.wait_for("its end", "! [ -e /sys/class/net/eth0 ]")


def busy(host):
    """Seconds in which dom0's only processor was not idle, since it is up."""
    lines = host.good("grep -E '^now at|idle_sleeptime' /proc/timer_list").splitlines()
    return (int(lines[0].split()[2]) - int(lines[1].split()[2])) / 1e9


def measure(host, label, one, other, seconds):
    """What `one` reaches to and from dom0 and another guest: {what: (Gb/s, dom0's seconds per GB)}."""
    found = {}
    for name, server, address in (("dom0", host, DOM0), ("a guest", other, f"10.9.0.{other.number}")):
        for way, options in (("to", ""), ("from", "-R")):
            with Server(server), host.profiled(f"{label} {way} {name}", (host, one)) as profile:
                before = busy(host)
                end = iperf(one, address, f"-t {seconds} {options}", 400)
                spent = busy(host) - before
                profile.gb = end["sum_received"]["bytes"] / 1e9
            found[f"{way} {name}"] = (gbits(end), spent / profile.gb)
    return found


def turn(host, backend, guests, seconds):
    """One backend's turn, from its beginning to its end."""
    backend.begin(host)
    attach(host, backend, guests)
    found = measure(host, backend.label, *guests, seconds)
    detach(host, guests)
    backend.end(host)
    return found


def compare(host, guests, seconds):
    """Both in turn; says what was found, writes it to net-speed.json beside the logs. {what: ratio of rates}."""
    ours = turn(host, Ours(), guests, seconds)
    linux = turn(host, Linux(), guests, seconds)
    report = {}
    for what, (rate, cost) in ours.items():
        report[what] = {"splitring_gbits": rate, "linux_gbits": linux[what][0], "ratio": rate / linux[what][0],
                        "splitring_dom0_s_per_gb": cost, "linux_dom0_s_per_gb": linux[what][1],
                        "dom0_ratio": cost / linux[what][1]}
        say(f"{what}: splitring {rate:.3f}, Linux {linux[what][0]:.3f} Gb/s: {report[what]['ratio']:.2f}x; dom0 "
            f"{cost:.1f} and {linux[what][1]:.1f} s/GB: {report[what]['dom0_ratio']:.2f}x")
    with open(os.path.join(host.folder, "net-speed.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
    return {what: figures["ratio"] for what, figures in report.items()}
