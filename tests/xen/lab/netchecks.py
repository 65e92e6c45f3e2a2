"""What scenarios check of guests' networks, whoever serves them; each check is a line of TAP."""
import contextlib
import re

from .daemon import LOG
from .net import DOM0, DOM0_6, Server, gbits, iperf, up
from .say import Failed, say
from .scenario import equal

MULTICAST = "ff02::1"  # all that speak IPv6 on this link


def mac(number):
    return f"00:16:3e:00:00:{number:02x}"


def come_up(lab, host, kind, number, vif, **options):
    """A guest of that kind and name whose eth0 has the addresses of `number`."""
    with lab.check(f"{kind.upper()}: a guest comes up, and its eth0 reaches dom0"):
        guest = host.create(options.pop("name", kind), kind, vifs=[vif], **options)
        up(guest, number)
        return guest
    raise Failed(f"no guest to go on with: {kind}")


@contextlib.contextmanager
def verifier(machine):
    """net-verify's server in a machine, for one client; what it says is looked at, too."""
    job = machine.start("exec net-verify serve")
    machine.wait_for("net-verify", "netstat -ltn | grep -q :5300")
    try:
        yield
        said = job.good(60)
    except BaseException:
        job.kill()
        raise
    if "received and right" not in said:
        raise Failed(f"net-verify's server said: {said}")


def verified(guest, machine, address, seconds=4, seed=1):
    """Every byte of streams and datagrams between the two is right; what the client said."""
    with verifier(machine):
        said = guest.good(f"net-verify run {address} 5300 {seconds} {seed}", 60 + 10 * seconds)
    lost = int(re.search(r"right, (\d+) lost", said)[1])
    if lost:
        say(f"{guest.name}: {lost} datagrams lost")
    return said


def traffic(lab, host, guest):
    """What each kind of guest does with its network."""
    kind = guest.kind.upper()
    with lab.check(f"{kind}: ping and ping -6"):
        guest.good(f"ping -c 3 {DOM0} && ping -6 -c 3 {DOM0_6}")
    for name, options in (("TCP out", "-t 2"), ("TCP in", "-t 2 -R"), ("TCP over IPv6 out", "-t 1"),
                          ("UDP frames of 64 bytes out", "-u -b 0 -l 18 -t 1")):
        with lab.check(f"{kind}: iperf3, {name}"), Server(host):
            end = iperf(guest, DOM0_6 if "IPv6" in name else DOM0, options)
            if not gbits(end) > 0:
                raise Failed(f"nothing came through: {end}")
            say(f"{kind}, {name}: {gbits(end):.3f} Gb/s")
    for name, address in (("IPv4", DOM0), ("IPv6", DOM0_6)):
        with lab.check(f"{kind}: every byte of streams and datagrams both ways is right, {name}"):
            verified(guest, host, address)


def offloads(lab, host, guest, device):
    """Checksum and segmentation by the guest or by the backend; `device`: where dom0 sees its frames."""
    kind = guest.kind.upper()
    for words in ("tso off", "tx off", "tx on tso on"):
        with lab.check(f"{kind}: ethtool -K eth0 {words}: traffic goes on, every byte is right"):
            guest.good(f"ethtool -K eth0 {words}")
            verified(guest, host, DOM0, 2)
    with lab.check(f"{kind}: checksums that the guest computes are right in a capture in dom0"):
        guest.good("ethtool -K eth0 tx off")
        capture(host, guest, device)
        guest.good("ethtool -K eth0 tx on tso on")


def capture(host, guest, device):
    """200 frames from the guest, none of them with a wrong checksum. Linux's frontend leaves those of IPv4 blank always."""
    job = host.start(f"tcpdump -Z root -i {device} -nn -vv -c 200 src fd09::{guest.number} and tcp 2>&1")
    host.wait_for("tcpdump", "pidof tcpdump")
    with Server(host):
        # On a machine that has other work too, two seconds are less than 200 frames.
        for _ in range(8):
            if job.running():
                iperf(guest, DOM0_6, "-t 2")
    text = job.good(60)
    if not text.count("(correct)") >= 200 or "(incorrect" in text:
        raise Failed(f"{text.count('(correct)')} right, {text.count('(incorrect')} wrong checksums:\n{text[-600:]}")


def jumbo(lab, host, guest, device):
    kind = guest.kind.upper()
    with lab.check(f"{kind}: jumbo frames: 8000 bytes of ping in one frame"):
        # Linux's backend has a device of its own in between.
        mtu = f"for d in $(ls /sys/class/net | grep ^vif) {device}; do ip link set $d mtu"
        host.good(f"{mtu} 9000; done")
        guest.good("ip link set eth0 mtu 9000")
        read = "cat /sys/class/net/eth0/statistics/tx_packets"
        before = int(guest.good(read))
        guest.good(f"ping -c 3 -s 8000 {DOM0}")
        sent = int(guest.good(read)) - before
        if sent > 6:  # in frames of 1500 bytes: 18
            raise Failed(f"three pings of 8000 bytes went in {sent} frames")
        verified(guest, host, DOM0, 2)
        guest.good("ip link set eth0 mtu 1500")
        host.good(f"{mtu} 1500; done")


def multicast(lab, host, guest, device):
    with lab.check(f"{guest.kind.upper()}: multicast reaches the guest, and its own gets out"):
        own = guest.good("ip -6 addr show dev eth0 scope link | sed -n 's/.*inet6 \\([^/]*\\).*/\\1/p'").strip()
        answers = host.good(f"ping -6 -c 3 -I {device} {MULTICAST}")
        if own not in answers:
            raise Failed(f"{own} did not answer: {answers}")
        guest.good(f"ping -6 -c 2 -I eth0 {MULTICAST}")


def link(lab, guest):
    with lab.check(f"{guest.kind.upper()}: eth0 down and up, three times"):
        for _ in range(3):
            guest.good("ip link set eth0 down; ip link set eth0 up")
            up(guest, guest.number)


def operator(lab, host, guest):
    """What `splitring` does with a NIC on a Xen host: the capture and the cable."""
    kind, pings, file = guest.kind.upper(), 20, "/tmp/capture.pcapng"
    with lab.check(f"{kind}: splitring capture has each packet of a ping, both ways, and tcpdump reads it"):
        job = host.start(f"exec splitring capture vif{guest.domid}.0 -w {file} 2>&1")
        host.wait_for("the capture", f"grep -q 'a capture begins' {LOG}")
        guest.good(f"ping -c {pings} -i 0.1 {DOM0}")
        job.kill(2)
        said = job.good(30)
        read = host.good(f"tcpdump -Z root -nn -r {file} 2>/dev/null; rm {file}")
        equal({word: read.count(word) for word in ("echo request", "echo reply")},
              {"echo request": pings, "echo reply": pings})
        say(said.strip())
    with lab.check(f"{kind}: splitring network-link down: nothing comes through; up: all is as it was"):
        host.good(f"splitring network-link {guest.domid} 0 down")
        if not guest.run(f"ping -c 3 -W 1 {DOM0}").status:
            raise Failed("a ping came back while the link was down")
        host.good(f"splitring network-link {guest.domid} 0 up")
        up(guest, guest.number)


def second_vif(lab, host, guest, vif, number):
    """`vif`: xl's words without the MAC; `number`: of its address."""
    kind = guest.kind.upper()
    with lab.check(f"{kind}: network-attach and network-detach, five times, while eth0 is loaded"):
        job = guest.start("while :; do ping -c 1 -W 5 10.9.0.1 >/dev/null || exit 1; done")
        for turn in range(5):
            host.good(f"xl network-attach {guest.name} {vif(mac(number)).replace(',', ' ')}")
            guest.wait_for("eth1", "[ -e /sys/class/net/eth1 ]")
            guest.good("ip link set eth1 up")
            guest.wait_for("its carrier", "[ $(cat /sys/class/net/eth1/carrier) = 1 ]")
            host.good(f"xl network-detach {guest.name} 1")
            guest.wait_for("its end", "! [ -e /sys/class/net/eth1 ]")
            if not job.running():
                raise Failed(f"eth0 lost its way in turn {turn}")
        job.kill()


def between(lab, one, other):
    """Two guests on the same bridge."""
    what = f"{one.kind.upper()} and {other.kind.upper()}"
    address = f"10.9.0.{other.number}"
    with lab.check(f"{what}: ping from guest to guest"):
        one.good(f"ping -c 3 {address} && ping -6 -c 3 fd09::{other.number}")
    with lab.check(f"{what}: iperf3 from guest to guest, both ways"), Server(other):
        for options in ("-t 2", "-t 2 -R"):
            end = iperf(one, address, options)
            say(f"{what}, {options}: {gbits(end):.3f} Gb/s")
    with lab.check(f"{what}: every byte between them is right"):
        verified(one, other, address)


def two_queues(lab, host, guest):
    with lab.check(f"{guest.kind.upper()}: two queues, and traffic over both"):
        equal(guest.good("ls -d /sys/class/net/eth0/queues/tx-* | wc -l").strip(), "2")
        with Server(host):
            iperf(guest, DOM0, "-P 4 -t 2")
            iperf(guest, DOM0, "-P 4 -t 2 -R")


def recovery(lab, daemon, guest, host, kills):
    kind = guest.kind.upper()
    with lab.check(f"{kind}: kill -9 of splitringd, {kills} times, under verified TCP: it goes on, data right"):
        with verifier(host):
            job = guest.start(f"net-verify run {DOM0} 5300 {3 * kills + 4} 3")
            for _ in range(kills):
                host.good("sleep 2")
                daemon.kill_worker()
            job.good(60 + 20 * kills)
