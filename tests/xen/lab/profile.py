"""Where a host's instructions go, by function: `./dev xen --profile SCENARIO`.

QEMU counts each block of code that it executes (profile/counts.c), so nothing is sampled. dom0 has the first
processor and the guests have the second one: that tells their kernels apart, which lie at the same addresses.
"""
import base64
import bisect
import collections
import contextlib
import glob
import gzip
import os
import re
import socket
import struct
import subprocess
import types

from .say import say

PLUGIN = "tests/xen/counts.so"
RECORD = struct.Struct("<6Q")
XEN_TEXT = range(0xffff82d000000000, 0xffff82d100000000)
KERNEL = 1 << 63
CPUS = ("dom0's processor", "the guests' processor")
SHOWN = 100


class Symbols:
    """Names of addresses: the nearest one below."""

    def __init__(self, pairs):
        self.pairs = sorted(set(pairs))
        self.starts = [address for address, _ in self.pairs]

    def find(self, address):
        """(name, whether the address is its first)."""
        at = bisect.bisect_right(self.starts, address) - 1
        return (self.pairs[at][1], self.pairs[at][0] == address) if at >= 0 else ("?", False)


def from_nm(path, *options):
    """The functions that a file names."""
    text = subprocess.run(["nm", *options, path], capture_output=True, text=True, check=False).stdout
    return [(int(found[1], 16), found[2]) for found in re.finditer(r"^(\w+) [tTwWiu] ([^@\n]+)", text, re.M)]


def from_kallsyms(machine, choice):
    """Lines of /proc/kallsyms; packed, for a machine's console is slow."""
    packed = machine.good(f"grep -i ' [tw] ' /proc/kallsyms | grep {choice} | cut -d' ' -f1,3 | gzip -c | base64", 600)
    return gzip.decompress(base64.b64decode(packed)).decode()


def from_kernel(machine, kept):
    """A running Linux's functions. Those of its modules lie elsewhere in each boot, the others are `kept`."""
    if not os.path.exists(kept):
        with open(kept, "w", encoding="ascii") as file:
            file.write(from_kallsyms(machine, r"-v '\['"))
    with open(kept, encoding="ascii") as file:
        text = file.read() + from_kallsyms(machine, r"'\['")
    return Symbols([(int(line.split()[0], 16), line.split()[1]) for line in text.splitlines()])


def from_program(machine, pid, release, build):
    """Functions of a program that runs, and of its libraries: [(first address, last, name, Symbols)]."""
    found = []
    for line in machine.good(f"grep ' r-xp ' /proc/{pid}/maps").splitlines():
        words = line.split()
        start, end = (int(word, 16) for word in words[0].split("-"))
        name = words[5] if len(words) > 5 else "?"
        here = [path for path in (*glob.glob(f"{build}/tools/{os.path.basename(name)}"), release.path(name), name)
                if os.path.isfile(path)]
        pairs = []
        if here:
            headers = subprocess.run(["readelf", "-lW", here[0]], capture_output=True, text=True, check=False).stdout
            offset = int(words[2], 16)
            moved = [int(at, 16) - int(off, 16) for off, at in re.findall(r"LOAD +(\w+) (\w+) .* R E ", headers)]
            move = start - offset - (moved[0] if moved else 0)
            pairs = [(address + move, text) for address, text in from_nm(here[0]) or from_nm(here[0], "-D")]
        found.append((start, end, os.path.basename(name), Symbols(pairs)))
    return found


class Profile:
    """Of one boot. `release` and `build` say where programs' symbols are."""

    def __init__(self, host, path, release, build):
        self.host, self.path, self.release, self.build = host, path, release, build
        self.kernels = {}
        self.xen = Symbols(from_nm(release.path(f"/boot/xen-{release.xen}-amd64.efi")))

    def read(self):
        """{(address, instructions of a block): how often each processor ran it}."""
        data = bytearray()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            while got := s.recv(1 << 20):
                data += got
        return {(r[0], r[1]): r[2:] for r in RECORD.iter_unpack(data)}

    @contextlib.contextmanager
    def of(self, what, machines, program="splitringd"):
        """Of what is done inside; `machines` are whose kernels the processors run. The caller sets result.gb."""
        result = types.SimpleNamespace(gb=1.0)
        before = self.read()
        yield result
        after = self.read()
        kernels = [self.kernel(machine) for machine in machines]
        pids = self.host.run(f"pidof {program}").output.split()
        maps = from_program(self.host, pids[0], self.release, self.build) if pids else []
        name = re.sub("[^a-z0-9]+", "-", what.lower())
        with open(os.path.join(self.host.folder, f"profile-{name}.txt"), "w", encoding="utf-8") as file:
            for cpu, kernel in enumerate(kernels):
                names = Names(self.xen, kernel, maps if cpu == 0 else ())
                file.write(table(f"{what}: {CPUS[cpu]}", cpu, before, after, names, result.gb))
        say(f"profile of {what}: {os.path.relpath(file.name)}")

    def kernel(self, machine):
        """Its functions, as of now: modules come and go."""
        modules = machine.good("cut -d' ' -f1,6 /proc/modules")
        if self.kernels.get(machine, ("",))[0] != modules:
            kept = f"{self.release.folder}/functions-{self.release.kernel_version()}"
            self.kernels[machine] = modules, from_kernel(machine, kept)
        return self.kernels[machine][1]


class Names:
    """Whose an address is, for one processor."""

    def __init__(self, xen, kernel, maps):
        self.xen, self.kernel, self.maps = xen, kernel, maps

    def find(self, address):
        """(who, function, whether it is the function's first address)."""
        if address in XEN_TEXT:
            return "Xen", *self.xen.find(address)
        if address >= KERNEL:
            return "kernel", *self.kernel.find(address)
        for start, end, file, symbols in self.maps:
            if start <= address < end:
                name, first = symbols.find(address)
                return "daemon", f"{name} ({file})", first
        return "programs", "all", False


def table(what, cpu, before, after, names, gb):
    """Microseconds, at 2 ns an instruction, and calls, both for each MB."""
    spent, calls, whose = collections.Counter(), collections.Counter(), collections.Counter()
    for (address, size), times in after.items():
        n = times[cpu] - before.get((address, size), (0,) * 4)[cpu]
        if not n:
            continue
        who, name, first = names.find(address)
        spent[who, name] += n * size
        whose[who] += n * size
        if first:
            calls[who, name] += n
    scale = 2e-6 / gb
    text = f"# {what}, us and calls for each MB; all: {sum(whose.values()) * scale:.0f}\n"
    text += "".join(f"{n * scale:9.1f}            {who}\n" for who, n in whose.most_common())
    for (who, name), n in spent.most_common(SHOWN):
        text += f"{n * scale:9.1f} {calls[who, name] / gb / 1e3:9.2f}  {who:8} {name}\n"
    return text + "\n"
