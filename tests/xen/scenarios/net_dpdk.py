"""Our DPDK drivers on Xen: testpmd as the backend of stock guests' NICs, and as the frontend in a guest."""
from lab.daemon import Daemon, leftovers
from lab.image import STDBUF
from lab.net import DOM0, own_address, up, vif_ours
from lab.netchecks import mac
from lab.scenario import equal

TAP = "xentap"
EAL = f"env _STDBUF_O=L LD_PRELOAD={STDBUF} dpdk-testpmd --no-huge -m 128 --no-pci --no-telemetry --no-shconf --lcores 0@0,1@0"
# Answers ARP and ping itself.
MODE = "--nb-cores=1 --forward-mode=icmpecho --total-num-mbufs=2048 --stats-period=1 >/tmp/testpmd.log 2>&1"
SIZES = (0, 64, 1400)


def testpmd(machine, device):
    """One that is up, with that device, whose name says the driver."""
    driver = device.split("0")[0]
    job = machine.start(f"exec {EAL} -d /usr/lib/librte_{driver}.so --vdev {device} -- {MODE}")
    machine.wait_for("testpmd", "grep -q 'Port statistics' /tmp/testpmd.log", 60)
    return job


def pings(machine, address):
    """Each of some sizes comes back as it was sent: ping compares."""
    for size in SIZES:
        out = machine.good(f"ping -c 5 -s {size} {address}", 60)
        assert ", 0% packet loss" in out and "wrong data" not in out, out


def end(machine, job):
    job.kill(15)
    job.wait(30)
    machine.good("grep -q 'Port 0 is closed' /tmp/testpmd.log")


def backend(lab, host, kind, number, driver=None):
    """A stock guest of that kind, whose eth0 is testpmd's, in dom0 or in a driver domain."""
    guest = host.create(f"b{kind}", kind)
    device = f"net_xenback0,domid={guest.domid},device=0"
    where = f"backend={driver.name}" if driver else "script=vif-nothing"
    place = " in a driver domain" if driver else ""
    with lab.check(f"{kind.upper()}: testpmd on net_xenback{place} answers a stock guest's pings"):
        job = testpmd(driver or host, device)
        host.good(f"xl network-attach b{kind} mac={mac(number)} {where}")
        up(guest, number)
        pings(guest, DOM0)
        end(driver or host, job)
    guest.destroy()


def driver_domain(lab, host):
    """An unprivileged domain, by the rights that xl gives it."""
    driver = host.create("drv", "pv", memory=512, config="driver_domain=1\n")
    driver.good("modprobe -a xen_evtchn xen_gntdev && modprobe xen_gntalloc limit=8192")
    backend(lab, host, "pv", 6, driver)
    backend(lab, host, "pvh", 7, driver)
    driver.destroy()


def frontend(lab, host, kind, number):
    """A guest of that kind without a netfront of Linux's."""
    guest = host.create(f"f{kind}", kind, memory=384, vifs=[vif_ours(mac(number))])
    for options in ("", ",static=1"):
        with lab.check(f"{kind.upper()}: testpmd on net_xenfront0{options} answers dom0's pings"):
            guest.good("rmmod xen_netfront 2>/dev/null; modprobe -a xen_evtchn xen_gntdev && "
                       "modprobe xen_gntalloc limit=8192")
            job = testpmd(guest, f"net_xenfront0{options}")
            host.wait_for("the guest", f"ping -c 1 -W 1 10.9.0.{number} >/dev/null", 60)
            pings(host, f"10.9.0.{number}")
            end(guest, job)
    guest.destroy()


def run(lab):
    host = lab.boot(testpmd=True)
    backend(lab, host, "pv", 2)
    backend(lab, host, "pvh", 3)
    driver_domain(lab, host)
    host.good("modprobe tun")
    daemon = Daemon(host, f"--bridge xenbr0=tap:{TAP}")
    host.wait_for(TAP, f"[ -e /sys/class/net/{TAP} ]")
    own_address(host, TAP)
    frontend(lab, host, "pv", 4)
    frontend(lab, host, "pvh", 5)
    with lab.check("nothing is left in xenstore, no grant is mapped, the guests are gone; splitringd ends"):
        equal(leftovers(host), [])
        equal(daemon.stop(), 0)
