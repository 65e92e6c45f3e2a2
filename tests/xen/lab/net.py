"""What guests do with their network: eth0 at the address that is asked for, iperf3, captures."""
import json

from .say import Failed

BRIDGE = "xenbr0"
DOM0 = "10.9.0.1"
DOM0_6 = "fd09::1"


def vif_linux(mac):
    """xl's words for a vif that Linux's xen-netback serves."""
    return f"mac={mac},bridge={BRIDGE},script=vif-linux"


def vif_ours(mac, more=""):
    """The same for splitringd."""
    return f"mac={mac},bridge={BRIDGE},script=vif-splitring{more}"


def bridge_linux(host):
    """Linux's bridge in dom0, with dom0's own address on it."""
    host.good("modprobe xen-netback && modprobe bridge")
    host.good(f"ip link show {BRIDGE} >/dev/null 2>&1 || ip link add {BRIDGE} type bridge")
    own_address(host, BRIDGE)


def own_address(host, device):
    """dom0 as a host of the guests' network, over `device`."""
    host.good(f"echo 0 >/proc/sys/net/ipv6/conf/{device}/accept_dad; "
              f"ip link set {device} up; ip addr replace {DOM0}/24 dev {device}; "
              f"ip addr replace {DOM0_6}/64 dev {device}")


def up(guest, number, device="eth0"):
    """Gives the guest 10.9.0.`number`, and its like for IPv6; comes back when dom0 can be reached."""
    guest.number = number
    guest.wait_for(device, f"[ -e /sys/class/net/{device} ]")
    guest.good(f"echo 0 >/proc/sys/net/ipv6/conf/{device}/accept_dad; ip link set lo up; ip link set {device} up; ip addr replace 10.9.0.{number}/24 dev {device}; "
               f"ip addr replace fd09::{number}/64 dev {device}")
    guest.wait_for("the way to dom0", f"ping -c 1 -W 1 {DOM0} >/dev/null", 30)


class Server:
    """An iperf3 server in a machine, for `with`."""

    def __init__(self, machine):
        self.machine = machine

    def __enter__(self):
        self.job = self.machine.start("exec iperf3 -s -p 5201 >/dev/null")
        self.machine.wait_for("iperf3", "netstat -ltn | grep -q :5201")
        return self

    def __exit__(self, *_):
        self.job.kill(15)


def iperf(machine, address, options="", timeout=120):
    """What iperf3's client says at the end: the parsed JSON's `end`."""
    text = machine.good(f"iperf3 -c {address} -p 5201 -J {options}", timeout)
    answer = json.loads(text)
    if "error" in answer:
        raise Failed(f"iperf3: {answer['error']}")
    return answer["end"]


def gbits(end):
    return end.get("sum_received", end.get("sum"))["bits_per_second"] / 1e9
