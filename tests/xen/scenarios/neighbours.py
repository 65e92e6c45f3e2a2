"""splitringd beside others that would serve the same disks."""
from lab.scenario import equal

DAEMON = "splitringd --hypervisor xen: --pidfile /run/splitringd.pid --log /var/log/splitringd.log"
OURS = "vdev=xvda,format=raw,access=rw,script=vbd-nothing,target=/images/a"
REMEDY = "run modprobe -r xen-blkback, and blacklist it"


def start(machine):
    machine.start(f"exec {DAEMON}")
    machine.wait_for("splitringd", "test -s /run/splitringd.pid")


def verified_io(guest):
    guest.good("fio --name=v --filename=/dev/xvda --direct=1 --rw=randrw --bs=4k --size=8M --iodepth=8 "
               "--ioengine=libaio --verify=crc32c --output-format=terse >/dev/null", 120)


def run(lab):
    host = lab.boot()
    host.good("truncate -s 32M /images/a")
    host.put("/etc/xen/scripts/vbd-nothing", "#!/bin/sh\nexit 0\n", "755")
    with lab.check("with xen-blkback loaded the daemon does not start, and says what to do"):
        host.good("modprobe xen-blkback")
        job = host.run("splitringd --hypervisor xen: 2>&1")
        equal(job.status, 1)
        assert f"Linux's xen-blkback would serve the same disks; {REMEDY}" in job.output, job.output
    with lab.check("without it a disk is served"):
        host.good("modprobe -r xen-blkback")
        start(host)
        guest = host.create("g", "pv", [OURS])
        verified_io(guest)
    with lab.check("a second daemon says so and leaves"):
        job = host.run("splitringd --hypervisor xen: 2>&1")
        equal(job.status, 1)
        assert "already; stop that one first" in job.output, job.output
    with lab.check("kill -9 under I/O: the guest sees a pause"):
        load = guest.start("fio --name=v --filename=/dev/xvda --direct=1 --rw=randrw --bs=4k --size=8M --iodepth=8 "
                           "--ioengine=libaio --verify=crc32c --loops=3 --output-format=terse >/dev/null")
        for _ in range(3):
            host.good("sleep 1; kill -9 $(head -1 /run/splitringd.pid)")
        load.good(180)
        guest.shutdown()
    with lab.check("a disk of a xen-blkback that was loaded later is left alone"):
        host.good("modprobe xen-blkback")
        host.put("/tmp/p.cfg", f"name='p'\ntype='pv'\nkernel='/guest/vmlinux'\nmemory=192\ndisk=['{OURS}']\n")
        host.good("xl create -p /tmp/p.cfg")
        host.wait_for("the line", f"grep -q 'leaving it alone: .*{REMEDY}' /var/log/splitringd.log")
        nodes = "".join(host.nodes("/local/domain/0/backend/vbd"))
        # Features that Linux does not know are ours.
        assert "max-ring-pages" not in nodes and "hotplug-status" not in nodes, nodes
        host.good("xl destroy p && modprobe -r xen-blkback")
