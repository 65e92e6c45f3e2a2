"""The toolstack's whole life against a driver domain: what xl does with a guest of its."""
from lab.deploy import Small, boot, driver, vbd, vif
from lab.disk import no_errors
from lab.scenario import equal

SAVED = "/tmp/saved"


def gone(drv, kind):
    drv.wait_no_directories()
    equal([line for line in drv.host.nodes(f"/local/domain/{drv.domid}/backend") if "/state = " in line], [], kind)


def attached(lab, host, guest, kind):
    with lab.check(f"{kind}: block-attach and block-detach, network-attach and network-detach, twice"):
        for _ in range(2):
            host.good(f"xl block-attach {guest.name} {vbd('/images/extra', 'xvdb')}")
            guest.wait_for("the disk", "[ -e /dev/xvdb ]")
            guest.verify("xvdb", 1)
            host.good(f"xl block-detach {guest.name} xvdb")
            guest.wait_for("its end", "! [ -e /sys/block/xvdb ]")
            host.good(f"xl network-attach {guest.name} {vif(99).replace(',', ' ')}")
            guest.wait_for("eth1", "[ -e /sys/class/net/eth1 ]")
            host.good(f"xl network-detach {guest.name} 1")
            guest.wait_for("its end", "! [ -e /sys/class/net/eth1 ]")
        guest.works()


def moved(lab, host, guest, kind):
    """Its frontends find the backend again, with another domain ID."""
    with lab.check(f"{kind}: xl save and restore: the frontends reconnect, the data is there"):
        before = guest.good("dd if=/dev/xvda bs=64k count=16 iflag=direct status=none | sha256sum")
        host.good(f"xl save {guest.name} {SAVED}", 200)
        host.good(f"xl restore {SAVED} && rm {SAVED}", 200)
        guest.came_back(fresh=False)
        equal(guest.good("dd if=/dev/xvda bs=64k count=16 iflag=direct status=none | sha256sum"), before)
        guest.works()
        no_errors(guest)


def ended(lab, host, drv, guest, kind):
    """Each way in which a guest may begin anew or end, the domain ID being another one each time."""
    with lab.check(f"{kind}: xl pause and unpause"):
        host.good(f"xl pause {guest.name}; sleep 2; xl unpause {guest.name}")
        guest.works()
    with lab.check(f"{kind}: xl reboot: it comes back with its disk and NIC"):
        host.good(f"xl reboot {guest.name}")
        guest.came_back(fresh=True)
        guest.works()
    with lab.check(f"{kind}: a crash of its kernel, on_crash=restart: it comes back"):
        guest.start("echo c >/proc/sysrq-trigger")
        guest.came_back(fresh=True)
        guest.works()
        equal(len(drv.directories()), 2)
    with lab.check(f"{kind}: xl shutdown"):
        host.good(f"xl shutdown -w {guest.name}", 60)
        guest.forget()
        gone(drv, kind)
    with lab.check(f"{kind}: xl create and xl destroy in mid-write"):
        guest.create()
        guest.start("dd if=/dev/zero of=/dev/xvda bs=64k count=200 oflag=direct")
        guest.destroy()
        gone(drv, kind)


def one_kind(lab, host, drv, kind):
    words = kind.upper()
    guest = None
    with lab.check(f"{words}: xl create, a disk and a NIC"):
        drv.good(f"truncate -s 32M /images/{kind} /images/extra")
        guest = Small(host, kind, kind, [vbd(f"/images/{kind}")], 30,
                      on_crash="restart", on_reboot="restart").create()
        guest.works()
    attached(lab, host, guest, words)
    moved(lab, host, guest, words)
    ended(lab, host, drv, guest, words)


def slow_store(lab, host, drv):
    with lab.check("a xenstored that stands still again and again: xl create, attach, detach, destroy succeed"):
        job = host.start("while :; do kill -STOP $(cat /run/xenstored.pid); sleep 0.4; "
                         "kill -CONT $(cat /run/xenstored.pid); sleep 0.1; done")
        try:
            guest = Small(host, "slow", "pvh", [vbd("/images/pv")], 40).create()
            guest.works()
            host.good(f"xl block-attach slow {vbd('/images/extra', 'xvdb')}", 60)
            guest.wait_for("the disk", "[ -e /dev/xvdb ]")
            host.good("xl block-detach slow xvdb", 60)
            guest.destroy()
            gone(drv, "slow")
        finally:
            job.kill()
            host.good("sleep 0.5; kill -CONT $(cat /run/xenstored.pid)")


def restarted(lab, host, drv):
    """
    Xen gives it a new domain ID, so no frontend can find it by itself: NICs are attached again, guests with
    disks are saved before and restored after.
    """
    guest = None
    with lab.check("the driver domain is rebooted under a guest that is saved meanwhile: it goes on"):
        drv.good("truncate -s 32M /images/pv")
        guest = Small(host, "stays", "pv", [vbd("/images/pv")], 41).create()
        guest.verify()
        host.good(f"xl save stays {SAVED}", 200)
        host.good("xl reboot drv")
        drv.came_back(fresh=True)
        drv.wait_for("splitringd", "test -s /run/splitringd.pid")
        host.good(f"xl restore {SAVED} && rm {SAVED}", 200)
        guest.came_back(fresh=False)
        guest.works()
        no_errors(guest)
    with lab.check("the driver domain is destroyed under a guest, and made anew: its NIC is attached again"):
        host.good("xl destroy drv")
        drv.forget()
        drv.create()
        host.good("xl network-detach stays 0; true", 60)
        guest.wait_for("the end of eth0", "! [ -e /sys/class/net/eth0 ]")
        host.good(f"xl network-attach stays {vif(41).replace(',', ' ')}", 60)
        guest.up()
    with lab.check("that guest is destroyed: nothing is left"):
        guest.destroy()
        gone(drv, "stays")


def run(lab):
    host = boot(lab, memory=3584)
    drv = None
    with lab.check("a driver domain of the image serves"):
        drv = driver(host, "pv")
    if not drv:
        return
    try:
        one_kind(lab, host, drv, "pv")
        slow_store(lab, host, drv)
        restarted(lab, host, drv)
    finally:
        drv.good("cat /var/log/splitringd.log")  # into the log
