#!/usr/bin/env python3
"""splitringd on `xen:`, which here are Xen's libraries over an embedded machine."""
import json
import os

from harness import SPLITRING, SPLITRINGD, XenMachine, equal, main, run, wait
from load import VERIFY, finish, kill_often, load, requests

LEAVE = "run modprobe -r xen-blkback, and blacklist it"


class XenHost(XenMachine):
    """With a sysfs of its own, for what Linux's drivers would say there."""

    def __init__(self, sysfs=()):
        super().__init__()
        self.xen_env["SPLITRING_SYSFS"] = self.path("sys")
        for name in sysfs:
            self.sysfs(name)

    def sysfs(self, name, text=None):
        path = self.path(f"sys/{name}")
        if text is None:
            os.makedirs(path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)

    def splitringd(self):
        """One that is to fail: its exit status and what it says."""
        status, _, err = run(SPLITRINGD, "--hypervisor", "xen:", env=self.xen_env)
        return status, err.partition("splitringd: ")[2].strip()

    def on_xen(self, *args):
        """splitring(1), which takes this for a Xen host: exit status, output, errors."""
        return run(SPLITRING, "-m", "xen:", *args, env=self.xen_env)

    def device(self, kind="vbd", devid=51712):
        """The nodes of a disk that a guest waits for; its directory."""
        if not self.domain("g"):
            self.good("create", self.guest("g", "/bin/sh", "-c 'exec sleep 1000'"))
        domid = self.domain("g")["domid"]
        back = f"/local/domain/0/backend/{kind}/{domid}/{devid}"
        front = f"/local/domain/{domid}/device/vbd/{devid}"
        for path, value in {
                f"{front}/backend": back, f"{front}/state": "1", f"{back}/frontend": front,
                f"{back}/frontend-id": str(domid), f"{back}/params": "null:size=1M",
                f"{back}/mode": "w", f"{back}/online": "1", f"{back}/state": "1"}.items():
            assert self.xenstore("write", path, value) is not None
        return back

    def nodes(self, back):
        return self.xenstore("ls", back)


DRIVER = "bus/xen-backend/drivers/vbd"


def test_serves():
    """a guest's verified I/O, and kill -9 in the midst of it"""
    with XenHost() as m:
        m.start_daemon()
        load(m, "g", f"{m.image(size=8 << 20)},raw,xvda,w")
        kill_often(m, 10, 0.1)
        wait("I/O after the last one", lambda: requests(m) > 20)
        finish(m, "g")
        equal(m.stop_daemon(), 0)


def test_second():
    """a second daemon is refused"""
    with XenHost() as m:
        m.start_daemon()
        equal(m.splitringd(), (1, f"xen: splitringd with pid {m.daemon.pid} serves domain 0 of it "
                               "already; stop that one first"))


def test_qdisk():
    """a qdisk of dom0 is QEMU's: not one node of it is written"""
    with XenHost() as m:
        m.start_daemon()
        back = m.device("qdisk")
        before = m.nodes(back)
        ours = m.device("vbd", 51728)
        wait("a disk of ours", lambda: m.xenstore("read", f"{ours}/state") == "2\n")
        equal(m.nodes(back), before)


def test_command():
    """splitring asks it for its disks, by a domain's number or name, and leaves the rest to xl"""
    with XenHost() as m:
        status, _, err = m.on_xen("info")
        assert status == 1 and "no splitringd serves domain 0" in err, err
        m.start_daemon()
        image = m.image(size=1 << 20)
        m.good("create", m.guest("g", VERIFY, "", [f"{image},raw,xvda,w"]))
        domid = m.domain("g")["domid"]
        equal(json.loads(m.on_xen("info", "--json")[1])["daemon"]["hypervisor"], "xen:")
        assert "hypervisor" in m.on_xen("info")[1]
        for which in ([], ["g"], [str(domid)]):
            disks = json.loads(m.on_xen("block-list", *which, "--json")[1])
            equal([(d["domid"], d["vdev"], d["backend"], d["size"]) for d in disks], [(domid, "xvda", 0, 1 << 20)])
        assert image in m.on_xen("block-list")[1]
        equal(json.loads(m.on_xen("block-list", "7000", "--json")[1]), [])
        with open(image, "r+b") as file:
            file.truncate(2 << 20)
        equal(m.on_xen("block-refresh", "g", "xvda"), (0, "", ""))
        equal(json.loads(m.on_xen("block-list", "--json")[1])[0]["size"], 2 << 20)
        status, _, err = m.on_xen("block-refresh", "g", "xvdz")
        assert status == 1 and "no such disk" in err, err
        status, _, err = m.on_xen("block-list", "nobody")
        assert status == 1 and "see xl list" in err, err
        status, _, err = m.on_xen("list")
        assert status == 1 and "that is xl's" in err, err


def test_blkback_at_start():
    """with xen-blkback loaded it does not start in dom0, and says what to do"""
    with XenHost([DRIVER, "module/xen_blkback/initstate"]) as m:
        equal(m.splitringd(), (1, f"Linux's xen-blkback would serve the same disks; {LEAVE}"))


def test_blkback_built_in():
    """the same where it is built into the kernel"""
    with XenHost([DRIVER, "module/xen_blkback"]) as m:
        equal(m.splitringd(), (1, "Linux's xen-blkback would serve the same disks; boot this kernel "
                               "with initcall_blacklist=xen_blkif_init"))


def test_blkback_later():
    """loaded later it has the new disks, of which nothing is written"""
    with XenHost() as m:
        m.start_daemon()
        m.sysfs(DRIVER)
        back = m.device()
        wait("its line", lambda: "leaving it alone: Linux's xen-blkback serves it; " + LEAVE in m.log())
        before = m.nodes(back)
        assert 'state = "1"' in before and "feature" not in before, before
        equal(m.stop_daemon(), 0)
        equal(m.nodes(back), before)


def test_blkback_gone():
    """a disk that was left to it is served once it is gone and the disk begins anew"""
    with XenHost() as m:
        m.start_daemon()
        m.sysfs(DRIVER)
        back = m.device()
        wait("its line", lambda: "leaving it alone" in m.log())
        os.rmdir(m.path(f"sys/{DRIVER}"))
        m.xenstore("write", f"{back}/state", "1")
        wait("InitWait", lambda: m.xenstore("read", f"{back}/state") == "2\n")


def test_no_autoprobe():
    """where the kernel gives it no devices by itself, only what it has is left to it"""
    with XenHost([DRIVER]) as m:
        m.sysfs("bus/xen-backend/drivers_autoprobe", "0\n")
        m.start_daemon()
        back = m.device()
        wait("InitWait", lambda: m.xenstore("read", f"{back}/state") == "2\n")
        domid = m.domain("g")["domid"]
        m.sysfs(f"bus/xen-backend/devices/vbd-{domid}-51728/driver")
        taken = m.device("vbd", 51728)
        wait("its line", lambda: "leaving it alone" in m.log())
        equal(m.xenstore("read", f"{taken}/state"), "1\n")


main([test_serves, test_second, test_command, test_qdisk, test_blkback_at_start, test_blkback_built_in,
      test_blkback_later, test_blkback_gone, test_no_autoprobe])
