"""splitringd in a driver domain: another guest's qdisk, with no QEMU anywhere."""
from lab.guest import qdisk
from lab.scenario import equal

DAEMON = "splitringd --hypervisor xen: --pidfile /run/splitringd.pid --log /tmp/splitringd.log"
FIO = ("fio --name=v --filename=/dev/xvda --direct=1 --rw=randrw --bs=40k --size=8M --iodepth=32 --ioengine=libaio "
       "--verify=crc32c --output-format=terse >/dev/null")


def run(lab):
    host = lab.boot()
    # Room for 256 maps: fewer than the guest has pages in flight.
    driver = host.create("drv", "pv", memory=256, config="driver_domain=1\nmax_maptrack_frames=1\n")
    with lab.check("the daemon runs in an unprivileged domain"):
        driver.good("modprobe -a xen_evtchn xen_gntdev && truncate -s 32M /dev/shm/a")
        driver.start(f"exec {DAEMON}")
        driver.wait_for("splitringd", "test -s /run/splitringd.pid")
        assert f"serving as domain {driver.domid}" in driver.good("cat /tmp/splitringd.log")
    try:
        with lab.check("a guest's disk is served from there"):
            guest = host.create("g", "pv", ["backend=drv," + qdisk("/dev/shm/a")])
            guest.good(FIO, 120)
            nodes = "\n".join(host.nodes(f"/local/domain/{driver.domid}/backend/qdisk"))
            assert 'feature-persistent = "1"' in nodes, nodes
            # xl's word for a raw image is no driver of ours.
            assert "connected: /dev/shm/a," in driver.good("cat /tmp/splitringd.log")
        with lab.check("kill -9 under I/O: the guest sees a pause"):
            load = guest.start(f"{FIO} --loops=3")
            for _ in range(3):
                driver.good("sleep 1; kill -9 $(head -1 /run/splitringd.pid)")
            load.good(180)
        with lab.check("xl detaches the disk, and the guest ends"):
            host.good("xl block-detach g xvda")
            guest.wait_for("the disk to go", "! test -e /dev/xvda")
            guest.shutdown()
        with lab.check("a disk below backend/vbd is served too, without xl devd"):
            guest = host.create("h", "pv", ["backend=drv,vdev=xvda,format=raw,access=rw,backendtype=phy,target=/dev/shm/a"])
            guest.good(FIO, 120)
        with lab.check("xl attaches and detaches more of them"):
            driver.good("truncate -s 16M /dev/shm/b")
            host.good("xl block-attach h backend=drv,vdev=xvdb,format=raw,access=rw,backendtype=phy,target=/dev/shm/b")
            guest.wait_for("the disk", "test -e /dev/xvdb")
            equal(guest.good("blockdev --getsize64 /dev/xvdb"), str(16 << 20))
            host.good("xl block-detach h xvdb")
            host.good("xl block-attach h backend=drv,vdev=xvdc,format=raw,access=ro,backendtype=phy,target=/dev/shm/b")
            guest.wait_for("the read-only disk", "[ $(cat /sys/block/xvdc/ro) = 1 ]")
        with lab.check("the guest ends, and the daemon removes what it had"):
            guest.shutdown()
            host.wait_for("the daemon to remove the directories",
                          f"! xenstore-ls -f /local/domain/{driver.domid}/backend | grep -q frontend")
    finally:
        driver.good("cat /tmp/splitringd.log")  # into the log
