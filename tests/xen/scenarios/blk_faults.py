"""What goes wrong around splitringd: guests that die early, a store that hangs, limits, rivals."""
import time

from lab.checks import clean, image
from lab.daemon import LOG, Daemon
from lab.disk import Load, file_system, fio, no_errors
from lab.guest import Guest, ours
from lab.say import Failed
from lab.scenario import equal


def rivals_first(lab, host):
    with lab.check("splitringd does not start beside Linux's xen-blkback, and says what to do"):
        host.good("modprobe xen_blkback")
        job = host.run(f"splitringd --log {LOG}.rival", 20)
        host.good("modprobe -r xen_blkback")
        equal(job.status, 1)
        said = job.output + host.run(f"cat {LOG}.rival").output
        if "modprobe -r xen-blkback" not in said:
            raise Failed(f"it said: {said}")


def rivals_later(lab, host, guest):
    with lab.check("xen-blkback is loaded later: splitringd leaves it the disk, xl tells why"):
        path = image(host, "rival", "8M")
        host.good("modprobe xen_blkback; echo 1 >/sys/bus/xen-backend/drivers_autoprobe")
        job = host.run(f"xl block-attach {guest.name} '{ours(path, 'xvdc')}'", 60)
        if job.status == 0:
            raise Failed("the disk was attached")
        host.run(f"xl block-detach {guest.name} xvdc", 60)
        equal(host.good(f"stat -c %b {path}"), "0", "blocks that somebody wrote")
        log = host.good(f"grep -c xen-blkback {LOG} || true")
        if log == "0":
            raise Failed("splitringd's log does not say it")


def early_deaths(lab, host):
    """A guest is destroyed in each state of the handshake; another one must not notice."""
    for state, name in ((1, "Initialising"), (3, "Initialised"), (4, "Connected"), (5, "Closing"), (6, "Closed")):
        with lab.check(f"a guest that is destroyed when its frontend is {name} leaves nothing"):
            path = image(host, "early", "8M")
            guest = Guest(host, "early", "pv", [ours(path)])
            host.put("/tmp/early.cfg", guest.config)
            host.good(f"xl create {'-p' if state == 1 else ''} /tmp/early.cfg")
            domid = int(host.good("xl domid early"))
            node = f"/local/domain/{domid}/device/vbd/51712/state"
            if state > 4:
                guest.domid = domid
                guest.connect()
                guest.channel.wait_hello(120)
                guest.start("echo vbd-51712 >/sys/bus/xen/drivers/vbd/unbind")
            host.good(f"while [ $(xenstore-read {node}) -lt {state} ]; do :; done; xl destroy early", 60)
            guest.forget()
            equal(others_gone(host), [])


def others_gone(host):
    """Nodes of guests other than the bystander."""
    host.wait_for("the devices to go", "[ $(xenstore-list /local/domain/0/backend/vbd | wc -l) = 1 ]")
    return host.good("xl list | awk 'NR > 1 && $1 != \"Domain-0\" && $1 != \"bystander\"'").splitlines()


def crash(lab, host):
    with lab.check("a guest whose kernel crashes in mid-write leaves nothing"):
        guest = host.create("crash", "pvh", [ours(image(host, "crash"))])
        Load(guest, rw="randwrite")
        guest.start("echo c >/proc/sysrq-trigger")
        guest.wait_gone()
        equal(others_gone(host), [])


def slow_store(lab, host, daemon, guest, load):
    with lab.check("xenstored hangs for five seconds: I/O goes on"):
        count = "awk '{print $1 + $5}' /sys/block/xvda/stat"
        host.good("kill -STOP $(cat /run/xenstored.pid)")
        time.sleep(1)
        before = int(guest.good(count))
        time.sleep(4)
        after = int(guest.good(count))
        host.good("kill -CONT $(cat /run/xenstored.pid)")
        if after <= before:
            raise Failed(f"{before} requests before, {after} after")
        load.check()
    with lab.check("splitringd is killed while xenstored hangs: it comes back with the store"):
        host.good(f"kill -STOP $(cat /run/xenstored.pid); kill -9 $(head -1 /run/splitringd.pid)")
        time.sleep(3)
        host.good("kill -CONT $(cat /run/xenstored.pid)")
        before = int(guest.good(count))
        guest.wait_for("I/O after it", f"[ $({count}) -gt {before + 20} ]")
        load.check()
    with lab.check("a disk is attached and detached after that"):
        host.good(f"xl block-attach {guest.name} '{ours(image(host, 'late', '8M'), 'xvdb')}'")
        guest.wait_for("the disk", "[ $(blockdev --getsize64 /dev/xvdb) = 8388608 ]")
        guest.good(fio("randwrite", "64k", 8, "4m", disk="xvdb"))
        host.good(f"xl block-detach {guest.name} xvdb")


def says_why(host, command, path):
    """Runs an xl that has to fail with the daemon's reason: after libxl's ten seconds of waiting it has none."""
    job = host.run(command)
    if job.status == 0:
        raise Failed("xl did not fail")
    if f"uring:{path}: there is no such file" not in job.output:
        raise Failed(f"xl said: {job.output}")


def missing(lab, host, guest):
    with lab.check("an image that is not there: xl create fails and says why, nothing is left"):
        host.put("/tmp/none.cfg", Guest(host, "none", "pv", [ours("/images/none")]).config)
        says_why(host, "xl create /tmp/none.cfg", "/images/none")
        host.good(f"grep -q /images/none {LOG}")
        equal(others_gone(host), [])
    with lab.check("xl block-attach of such an image: the same, and block-detach removes what xl has left"):
        says_why(host, f"xl block-attach {guest.name} '{ours('/images/none', 'xvdc')}'", "/images/none")
        host.good(f"xl block-detach {guest.name} xvdc")
        equal(host.nodes(guest.backend("xvdc")), [])
        equal(host.nodes(f"/local/domain/{guest.domid}/device/vbd/51744"), [])
        no_errors(guest)
    with lab.check("the same disk is attached once its image is there"):
        path = image(host, "none", "8M")
        host.good(f"xl block-attach {guest.name} '{ours(path, 'xvdc')}'")
        guest.wait_for("the disk", "[ $(blockdev --getsize64 /dev/xvdc) = 8388608 ]")
        host.good(f"xl block-detach {guest.name} xvdc")


def few_grants(lab, host, daemon, what, config=""):
    """A host or a guest with few grants: fewer features, no error, and nobody waits for ever."""
    guest = None
    with lab.check(f"{what}: two disks, a file system and verified I/O, no error"):
        disks = [ours(image(host, "a")), ours(image(host, "b"), "xvdb")]
        guest = host.create("few", "pv", disks, config=config)
        # This one rests with all the grants that it could keep, while the other one works; and the other way.
        guest.good(fio("randwrite", "256k", 32, "16m"), 120)
        load = Load(guest, disk="xvdb", bs="4k-256k", depth=32)
        file_system(guest, mib=2)
        guest.good(fio("randwrite", "256k", 32, "16m"), 120)
        load.finish()
        no_errors(guest)
    with lab.check(f"{what}: the same after kill -9"):
        load = Load(guest)
        daemon.kill_worker()
        time.sleep(2)
        load.finish()
        guest.good(fio("randwrite", "256k", 32, "16m", disk="xvdb"), 120)
        no_errors(guest)
        guest.shutdown()
    clean(lab, host, what)


def small_tables(lab, host, daemon):
    """Guests whose grant tables are small. With one frame Linux does not come up."""
    for frames in (2, 4):
        few_grants(lab, host, daemon, f"a guest with {frames} frames of grants", f"max_grant_frames = {frames}\n")
    with lab.check("splitringd has said that two frames are too few for persistent grants"):
        host.good(f"grep -q 'can grant 1024 pages' {LOG} && ! grep -q 'can grant 2048 pages' {LOG}")


def run(lab):
    host = lab.boot()
    rivals_first(lab, host)
    daemon = Daemon(host, "--threads 2")
    with lab.check("a second splitringd says that there is one, and leaves"):
        job = daemon.second()
        equal(job.status, 1)
    bystander = host.create("bystander", "pv", [ours(image(host, "bystander"))])
    load = Load(bystander)
    early_deaths(lab, host)
    crash(lab, host)
    missing(lab, host, bystander)
    slow_store(lab, host, daemon, bystander, load)
    with lab.check("a guest beside all of this saw no error, and its data is right"):
        load.finish()
        no_errors(bystander)
    bystander.shutdown()
    clean(lab, host, "all guests")
    small_tables(lab, host, daemon)
    # Last on this host, for Linux's backend does not go away again.
    guest = host.create("rival", "pv", [ours(image(host, "first"))])
    rivals_later(lab, host, guest)
    guest.shutdown()
    clean(lab, host, "the guest of two backends")
    daemon.stop()
    host = lab.boot(xen="gnttab_max_maptrack_frames=1")
    daemon = Daemon(host, "--threads 2")
    few_grants(lab, host, daemon, "a host with one frame of maptrack entries")
    daemon.stop()
