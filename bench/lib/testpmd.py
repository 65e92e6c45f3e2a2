"""
dpdk-testpmd at both ends of a link: one sends as fast as it can, the other counts what arrives.

Only arrivals count: the rate is what the receiver's port has counted between two looks, by the receiver's
clock. What the sender's port took is kept beside it: a receiver that counted more than that is an error,
one that counted less has lost packets on the way.
"""
import fcntl
import os
import re
import subprocess
import time

from . import imix

PROGRAM = "dpdk-testpmd"
WARM_UP_S = 0.5
PATIENCE_S = 30
IMIX = "imix"


class Failed(Exception):
    """A testpmd did not come up, or nothing arrived."""


class Running:
    """A testpmd that takes commands."""

    def __init__(self, label, command, log):
        self.label, self.log = label, log
        with open(log, "w", encoding="utf-8") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file,
                                            stderr=subprocess.STDOUT, text=True, bufsize=1)
        self.seen = 0

    def wait(self, pattern):
        """The match of what it says next that fits."""
        limit = time.monotonic() + PATIENCE_S
        while True:
            ended = self.process.poll() is not None
            with open(self.log, encoding="utf-8", errors="replace") as file:
                text = file.read()
            found = re.search(pattern, text[self.seen:], re.S)
            if found:
                self.seen += found.end()
                return found
            if ended or time.monotonic() > limit:
                raise Failed(f"{self.label}: testpmd {'has ended' if ended else 'says nothing more'}, see {self.log}")
            time.sleep(0.02)

    def ask(self, words, pattern):
        try:
            self.process.stdin.write(words + "\n")
        except BrokenPipeError:
            pass  # wait() says so
        return self.wait(pattern)

    def counters(self):
        """Packets of port 0 since its start, received and sent, and both a second since the last look."""
        found = self.ask("show port stats 0", r"RX-packets: (\d+).*?TX-packets: (\d+).*?"
                         r"Rx-pps:\s+(\d+).*?Tx-pps:\s+(\d+).*?#\n")
        return dict(zip(("rx", "tx", "rx_pps", "tx_pps"), map(int, found.groups())))

    def totals(self):
        """Stops to forward. Packets of port 0 in all: received, sent, and those that its device didn't take."""
        found = self.ask("stop", r"statistics for port 0\s.*?RX-packets: (\d+).*?TX-packets: (\d+)\s+"
                         r"TX-dropped: (\d+)")
        return dict(zip(("rx", "tx", "refused"), map(int, found.groups())))

    def end(self):
        if self.process.poll() is None:
            try:
                self.process.stdin.write("quit\n")
                self.process.wait(5)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self.process.kill()
        self.process.wait()
        self.process.stdin.close()


class End:
    """
    One testpmd: `devices` are its --vdev words and `drivers` shared objects to load. Packets are handled on
    `core`, all else on `main_core`. `slots`: of a ring.
    """

    def __init__(self, devices, core, main_core, drivers=(), memory_mb=96, mbufs=16384, slots=1024):
        self.devices, self.core, self.main_core, self.drivers = devices, core, main_core, drivers
        self.memory_mb, self.mbufs, self.slots = memory_mb, mbufs, slots

    def command(self, sends, packet, folder):
        devices, mode, sizes = list(self.devices), "txonly" if sends else "rxonly", []
        if sends and packet == IMIX:
            devices.append(f"net_pcap0,rx_pcap={imix.write(folder)},infinite_rx=1")
            mode = "io"
        elif sends:
            sizes = [f"--txpkts={packet}"]
        # Its words go to a file, which stdio would keep back.
        eal = ["stdbuf", "-oL", PROGRAM, "--no-pci", "--in-memory", "--single-file-segments", "-m",
               str(self.memory_mb), "-n", "1", "--no-telemetry", "--lcores", f"0@{self.main_core},1@{self.core}"]
        for driver in self.drivers:
            eal += ["-d", driver]
        for device in devices:
            eal += ["--vdev", device]
        return [*eal, "--", "-i", f"--txd={self.slots}", f"--rxd={self.slots}", "--nb-cores=1",
                f"--forward-mode={mode}", "--no-flush-rx", f"--total-num-mbufs={self.mbufs}", *sizes]


class Link:
    """
    `server` comes up first and waits for `client`; `guest` says which of the two ("server" or "client") is the
    guest's end. `until`: a path that is there when the server waits.
    """

    def __init__(self, label, server, client, guest, until=None):
        self.label, self.server, self.client, self.guest, self.until = label, server, client, guest, until

    def run(self, direction, packet, seconds, logs):
        """
        Packets in so many seconds, in millions a second: mpps arrived, sent_mpps were taken by the sender's
        port; lost of them did not arrive, by the totals. direction: what the guest does, "send" or "receive".
        """
        sender = self.guest if direction == "send" else {"client": "server", "server": "client"}[self.guest]
        ends = {}
        try:
            for name, end in ("server", self.server), ("client", self.client):
                log = os.path.join(logs, f"{self.label.replace(' ', '-')}-{name}.log")
                ends[name] = Running(self.label, end.command(name == sender, packet, logs), log)
                if name == "server":
                    self.wait(ends[name])
                # The server works before its client comes: a backend answers its guest from the thread that polls.
                ends[name].ask("start", r"testpmd> .*?forwards packets on")
            receiver, sender = (ends[name] for name in sorted(ends, key=lambda name: name == sender))
            slots = max(self.server.slots, self.client.slots)
            return self.sample(sender, receiver, seconds, slots)
        finally:
            for end in reversed(ends.values()):
                end.end()
            if self.until and os.path.exists(self.until):
                os.unlink(self.until)

    def ready(self):
        """Does the server wait for its client?"""
        return not self.until or os.path.exists(self.until)

    def wait(self, server):
        limit = time.monotonic() + PATIENCE_S
        while not self.ready():
            if server.process.poll() is not None or time.monotonic() > limit:
                raise Failed(f"{self.label}: testpmd did not come up, see {server.log}")
            time.sleep(0.05)

    def sample(self, sender, receiver, seconds, slots):
        limit = time.monotonic() + PATIENCE_S
        while not receiver.counters()["rx"]:
            if time.monotonic() > limit:
                raise Failed(f"{self.label}: nothing arrived, see {receiver.log} and {sender.log}")
            time.sleep(0.1)
        time.sleep(WARM_UP_S)
        sender.counters()
        receiver.counters()
        time.sleep(seconds)
        sent, arrived = sender.counters()["tx_pps"], receiver.counters()["rx_pps"]
        if not arrived:
            raise Failed(f"{self.label}: packets have ceased to arrive, see {receiver.log} and {sender.log}")
        sent_total = sender.totals()
        time.sleep(0.05)  # for what is on its way
        arrived_total = receiver.totals()["rx"]
        # net_xenfront counts what has been answered: a ring may be on its way.
        if arrived_total > sent_total["tx"] + slots:
            raise Failed(f"{self.label}: {arrived_total} packets arrived, and only {sent_total['tx']} were sent")
        return {"mpps": arrived / 1e6, "sent_mpps": sent / 1e6, "sent": sent_total["tx"],
                "lost": max(0, sent_total["tx"] - slots - arrived_total), "refused": sent_total["refused"]}


def vhost(folder, packed, guest_core):
    """net_vhost on the host's side, net_virtio_user on the guest's: the fastest setting of each ring."""
    path = os.path.join(folder, "vhost.sock")
    ring = "packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1" if packed else "packed_vq=0,mrg_rxbuf=0,in_order=1"
    return Link(f"vhost {'packed' if packed else 'split'}",
                End([f"net_vhost0,iface={path},queues=1,client=0"], 1 - guest_core, guest_core),
                End([f"net_virtio_user0,mac=00:16:3e:00:00:02,path={path},queues=1,queue_size=1024,{ring}"],
                    guest_core, guest_core),
                "client", path)


def memif(folder, guest_core):
    path = os.path.join(folder, "memif.sock")
    words = f"socket={path},socket-abstract=no,rsize=10,bsize=2048"
    return Link("memif", End([f"net_memif0,role=server,{words}"], 1 - guest_core, guest_core),
                End([f"net_memif0,role=client,{words}"], guest_core, guest_core), "client", path)


HUGEPAGES = "/proc/sys/vm/nr_hugepages"


class Hugepages:
    """
    Free pages of 2 MiB for two testpmds, which share their memory by them; given back at the end. Who wants them
    for another run at the same time waits: each would take the other's pages, and its processors.
    """

    def __init__(self, megabytes=320):
        self.wanted, self.added, self.lock = megabytes // 2, 0, None

    def __enter__(self):
        # The file that says how many there are: a lock on it needs no other one, and ends with us.
        self.lock = open(HUGEPAGES, encoding="ascii")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run to end", flush=True)
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        free = self.count("HugePages_Free")
        if free < self.wanted:
            self.added = self.wanted - free
            self.add(self.added)
        if self.count("HugePages_Free") < self.wanted:
            self.__exit__()
            raise Failed(f"this machine gives no {self.wanted} pages of 2 MiB ({HUGEPAGES})")
        return self

    def __exit__(self, *_):
        self.add(-self.added)
        self.lock.close()

    def add(self, pages):
        """Others may hold pages and change their number meanwhile."""
        total = max(0, self.count("HugePages_Total") + pages)
        with open(HUGEPAGES, "w", encoding="ascii") as file:
            file.write(str(total))

    @staticmethod
    def count(what):
        with open("/proc/meminfo", encoding="ascii") as file:
            return int(re.search(rf"^{what}:\s+(\d+)", file.read(), re.M)[1])
