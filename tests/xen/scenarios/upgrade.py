"""`splitring upgrade` in dom0, while Linux guests write to their disks and talk over their NICs."""
import re

from lab.checks import come_up
from lab.daemon import Daemon, leftovers
from lab.disk import Load, no_errors
from lab.net import DOM0, own_address, up, vif_ours
from lab.netchecks import mac, verifier
from lab.scenario import equal

TAP = "xentap"
UPGRADES = 5
# As a package does: another file at the same place.
INSTALL = "cp /usr/sbin/splitringd /usr/sbin/new && mv /usr/sbin/new /usr/sbin/splitringd"


def upgrade(host, daemon):
    """Another worker serves then, the supervisor's process is the same, and both run the new file."""
    old, supervisor = daemon.pid(), host.good("tail -1 /run/splitringd.pid")
    said = host.good(f"{INSTALL} && splitring upgrade", 60)
    new = int(re.match(r"splitringd \S+ \(pid (\d+)\), before \S+ \(pid (\d+)\)", said)[1])
    assert new != old, said
    host.wait_for("the pid file", f"[ $(head -1 /run/splitringd.pid) = {new} ]")
    equal(host.good("tail -1 /run/splitringd.pid"), supervisor)
    for pid in new, supervisor:
        host.good(f"[ /proc/{pid}/exe -ef /usr/sbin/splitringd ]")


def under_load(lab, host, daemon, guest):
    with lab.check(f"{guest.kind.upper()}: {UPGRADES} upgrades under verified disk I/O and TCP: no error, data right"):
        with verifier(host):
            load = Load(guest)
            talk = guest.start(f"net-verify run {DOM0} 5300 {4 * UPGRADES} 3")
            for _ in range(UPGRADES):
                host.good("sleep 2")
                load.check()
                upgrade(host, daemon)
            talk.good(60 + 20 * UPGRADES)
            load.finish()
        no_errors(guest)


def run(lab):
    host = lab.boot()
    host.good("modprobe tun")
    daemon = Daemon(host, f"--bridge xenbr0=tap:{TAP}")
    host.wait_for(TAP, f"[ -e /sys/class/net/{TAP} ]")
    own_address(host, TAP)
    for number, kind in (2, "pv"), (3, "pvh"):
        guest = come_up(lab, host, kind, vifs=[vif_ours(mac(number))])
        up(guest, number)
        under_load(lab, host, daemon, guest)
        guest.shutdown()
    with lab.check("a program that would not start is refused, and the other one serves on"):
        pid = daemon.pid()
        host.good("mv /usr/sbin/splitringd /usr/sbin/kept && ln -s /bin/false /usr/sbin/splitringd")
        refused = host.run("splitring upgrade")
        host.good("mv /usr/sbin/kept /usr/sbin/splitringd")
        equal((refused.status, daemon.pid()), (1, pid))
        assert "would not start" in refused.output, refused.output
    with lab.check("nothing is left in xenstore, no grant is mapped; splitringd ends with status 0"):
        equal(leftovers(host), [])
        equal(daemon.stop(), 0)
        assert "ended by signal" not in host.good("cat /var/log/splitringd.log")
