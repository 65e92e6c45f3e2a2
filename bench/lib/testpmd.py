"""dpdk-testpmd at both ends of a link: one sends as fast as it can, the other counts what arrives."""
import os
import re
import statistics
import subprocess
import time

PROGRAM = "dpdk-testpmd"
WARM_UP_S = 1
START_S = 10


class Failed(Exception):
    """A testpmd did not come up, or nothing arrived."""


class End:
    """
    One testpmd: `devices` are its --vdev words and `drivers` shared objects to load. Its main thread
    sleeps on core 1 - `core`, where the other end works; packets are handled on `core`. `slots`: of a ring.
    """

    def __init__(self, devices, core, drivers=(), memory_mb=96, queues=1, mbufs=16384, slots=1024):
        self.devices, self.core, self.drivers = devices, core, drivers
        self.memory_mb, self.queues, self.mbufs = memory_mb, queues, mbufs
        self.slots = slots

    def command(self, mode, packet):
        eal = [PROGRAM, "--no-pci", "--in-memory", "--single-file-segments", "-m", str(self.memory_mb), "-n", "1",
               "--no-telemetry", "--lcores", f"0@{1 - self.core},1@{self.core}"]
        for driver in self.drivers:
            eal += ["-d", driver]
        for device in self.devices:
            eal += ["--vdev", device]
        return [*eal, "--", f"--txd={self.slots}", f"--rxd={self.slots}", "--nb-cores=1", "--stats-period=1",
                f"--rxq={self.queues}", f"--txq={self.queues}",
                f"--forward-mode={mode}", f"--txpkts={packet}", "--no-flush-rx", f"--total-num-mbufs={self.mbufs}"]

    def start(self, mode, packet, log):
        with open(log, "w", encoding="utf-8") as file:
            return subprocess.Popen(self.command(mode, packet), stdin=subprocess.DEVNULL, stdout=file,
                                    stderr=subprocess.STDOUT)


class Link:
    """
    `server` comes up first and waits for `client`; `guest` says which of the two ("server" or "client") is the
    guest's end. `until`: a path that is there when the server waits.
    """

    def __init__(self, label, server, client, guest, until=None):
        self.label, self.server, self.client, self.guest, self.until = label, server, client, guest, until

    def run(self, direction, packet, seconds, logs):
        """Millions of packets a second that arrived. direction: what the guest does, "send" or "receive"."""
        guest_sends = direction == "send"
        modes = {name: "txonly" if (name == self.guest) == guest_sends else "rxonly" for name in ("server", "client")}
        paths = {name: os.path.join(logs, f"{self.label.replace(' ', '-')}-{name}.log") for name in modes}
        ends = []
        try:
            ends.append(self.server.start(modes["server"], packet, paths["server"]))
            self.wait(ends[0], paths["server"])
            ends.append(self.client.start(modes["client"], packet, paths["client"]))
            receiver = paths["server"] if modes["server"] == "rxonly" else paths["client"]
            return self.sample(ends, receiver, seconds)
        finally:
            for end in reversed(ends):
                end.terminate()
            for end in reversed(ends):
                try:
                    end.wait(5)
                except subprocess.TimeoutExpired:
                    end.kill()
                    end.wait()
            if self.until and os.path.exists(self.until):
                os.unlink(self.until)

    def ready(self):
        """Does the server wait for its client?"""
        return not self.until or os.path.exists(self.until)

    def wait(self, end, log):
        limit = time.monotonic() + START_S
        while not self.ready():
            if end.poll() is not None or time.monotonic() > limit:
                raise Failed(f"{self.label}: testpmd did not come up, see {log}")
            time.sleep(0.05)

    def sample(self, ends, log, seconds):
        """The median of what testpmd says once a second, after the first ones in which packets arrive."""
        limit = time.monotonic() + START_S + seconds
        while time.monotonic() < limit:
            if any(end.poll() is not None for end in ends):
                raise Failed(f"{self.label}: a testpmd has ended, see {os.path.dirname(log)}")
            with open(log, encoding="utf-8", errors="replace") as file:
                rates = [int(rate) for rate in re.findall(r"Rx-pps:\s+(\d+)", file.read())]
            rates = [rate for rate in rates if rate]
            if len(rates) >= WARM_UP_S + seconds:
                return statistics.median(rates[WARM_UP_S:]) / 1e6
            time.sleep(0.2)
        raise Failed(f"{self.label}: nothing arrived, see {log}")


def vhost(folder, packed, guest_core):
    """net_vhost on the host's side, net_virtio_user on the guest's: the fastest setting of each ring."""
    path = os.path.join(folder, "vhost.sock")
    ring = "packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1" if packed else "packed_vq=0,mrg_rxbuf=0,in_order=1"
    return Link(f"vhost {'packed' if packed else 'split'}",
                End([f"net_vhost0,iface={path},queues=1,client=0"], 1 - guest_core),
                End([f"net_virtio_user0,mac=00:16:3e:00:00:02,path={path},queues=1,queue_size=1024,{ring}"],
                    guest_core),
                "client", path)


def memif(folder, guest_core):
    path = os.path.join(folder, "memif.sock")
    words = f"socket={path},socket-abstract=no,rsize=10,bsize=2048"
    return Link("memif", End([f"net_memif0,role=server,{words}"], 1 - guest_core),
                End([f"net_memif0,role=client,{words}"], guest_core), "client", path)


HUGEPAGES = "/proc/sys/vm/nr_hugepages"


class Hugepages:
    """Free pages of 2 MiB for two testpmds, which share their memory by them; given back at the end."""

    def __init__(self, megabytes=320):
        self.wanted, self.added = megabytes // 2, 0

    def __enter__(self):
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

    def add(self, pages):
        """Others may hold pages and change their number meanwhile."""
        total = max(0, self.count("HugePages_Total") + pages)
        with open(HUGEPAGES, "w", encoding="ascii") as file:
            file.write(str(total))

    @staticmethod
    def count(what):
        with open("/proc/meminfo", encoding="ascii") as file:
            return int(re.search(rf"^{what}:\s+(\d+)", file.read(), re.M)[1])
