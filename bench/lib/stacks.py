"""Two network namespaces that reach each other: over vifs and splitringd, or over veths and a Linux bridge."""
import os
import subprocess
import time

from .fio import Failed, cpu_seconds
from .machine import Machine

NETWORK, BITS = "10.83.7.0", 24
ENDS = {"a": "10.83.7.1", "b": "10.83.7.2"}
MACS = {"a": "00:16:3e:00:55:01", "b": "00:16:3e:00:55:02"}
PATIENCE_S = 20


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(words)}: {done.stderr.strip()}")


def inside(namespace):
    """What goes before a command there. Not ip's own words, which mount a /sys and so fail in a chroot."""
    return ["nsenter", f"--net=/run/netns/{namespace}"]


def ip_in(namespace, *words):
    run(*inside(namespace), "ip", *words)


class Stack:
    """`with Stack() as stack:` the namespaces are there and ping each other."""

    label = None
    # TCP's congestion control between the ends, for a class and those below it; None: the system's.
    congestion = None

    def __init__(self):
        self.names = {}

    def add(self, end):
        self.names[end] = f"sr-bench-{os.getpid()}-{end}"
        run("ip", "netns", "add", self.names[end])
        ip_in(self.names[end], "link", "set", "lo", "up")

    def __enter__(self):
        try:
            for end in ENDS:
                self.add(end)
            self.connect()
            self.wait()
            self.choose_congestion()
        except BaseException:
            self.__exit__()
            raise
        return self

    def command(self, end, *words):
        return [*inside(self.names[end]), *words]

    def set_address(self, end):
        ip_in(self.names[end], "addr", "add", f"{ENDS[end]}/{BITS}", "dev", "eth0")
        ip_in(self.names[end], "link", "set", "eth0", "address", MACS[end], "up")

    def wait(self):
        limit = time.monotonic() + PATIENCE_S
        while subprocess.run(self.command("a", "ping", "-c", "1", "-W", "1", ENDS["b"]),
                             capture_output=True, check=False).returncode:
            if time.monotonic() > limit:
                raise Failed(f"{self.label}: no ping from one end to the other")
            time.sleep(0.1)

    def choose_congestion(self):
        """By the route, so that connections have it from their first moment: BBR's pacing stays with one that began by it."""
        for end, address in ENDS.items() if self.congestion else ():
            ip_in(self.names[end], "route", "replace", f"{NETWORK}/{BITS}", "dev", "eth0", "src", address,
                  "congctl", self.congestion)

    def backend_cpu(self):
        """Seconds that the backend has worked; None where the kernel does the work in whoever's time."""
        return None

    def disconnect(self):
        pass

    def __exit__(self, *_):
        self.disconnect()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        self.names = {}


class Vifs(Stack):
    """Each end is a guest of the embedded hypervisor; splitringd's switch is between them."""

    plain = "splitring adaptive"

    def __init__(self, build, mode="adaptive"):
        super().__init__()
        self.label = f"splitring {mode}"
        self.machine = Machine(build, None, mode)
        self.up = False

    def connect(self):
        self.machine.__enter__()
        self.up = True
        for end, address in ENDS.items():
            config = self.machine.path(f"{end}.cfg")
            with open(config, "w", encoding="utf-8") as file:
                file.write(f'name = "{end}"\nmemory = 64\nkernel = "{self.machine.build}/tools/guest-net"\n'
                           f'extra = "--netns {self.names[end]} --ip {address}/{BITS}"\n'
                           f'vif = [ "mac={MACS[end]},bridge=bench0" ]\n')
            self.machine.splitring("create", config)

    def backend_cpu(self):
        return cpu_seconds(self.machine.worker())

    def disconnect(self):
        if self.up:
            for end in ENDS:
                self.machine.splitring("destroy", end, check=False)
            self.machine.__exit__()
            self.up = False


class Bridge(Stack):
    """What a container has: a veth into each namespace, both on a bridge, which is in a third one."""

    label = "veth + bridge"

    def connect(self):
        self.add("bridge")
        between = self.names["bridge"]
        ip_in(between, "link", "add", "br0", "type", "bridge")
        ip_in(between, "link", "set", "br0", "up")
        for end in ENDS:
            ip_in(between, "link", "add", f"to-{end}", "type", "veth", "peer", "eth0", "netns", self.names[end])
            ip_in(between, "link", "set", f"to-{end}", "master", "br0", "up")
            self.set_address(end)


class Relay(Stack):
    """A TAP in each namespace and one program that does no more than to move packets: what guests can't do without."""

    label = "two TAPs, a relay"

    def __init__(self, build):
        super().__init__()
        self.program = f"{build}/bench/bench-relay"
        self.process = None

    def connect(self):
        self.process = subprocess.Popen([self.program, *(self.names[end] for end in ENDS)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise Failed(f"{self.program} did not start")
        for end in ENDS:
            self.set_address(end)

    def backend_cpu(self):
        return cpu_seconds(self.process.pid)

    def disconnect(self):
        if self.process:
            self.process.terminate()
            self.process.communicate()
            self.process = None


class Server:
    """A program at one end for as long as it is needed."""

    def __init__(self, stack, *words):
        self.process = subprocess.Popen(stack.command("b", *words), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
