"""The images that a host boots: Xen, a kernel, and an initramfs each for dom0 and for guests.

Made from an unpacked release, small, so that a boot takes seconds under emulation: of the release only
the programs that are named here, the libraries that they need, and modules by name. Nothing is
compressed, for it is the emulated processor that would have to decompress it.
"""
import fcntl
import glob
import gzip
import hashlib
import json
import lzma
import os
import re
import struct
import subprocess

from . import stub
from .cpio import Tree
from .say import Failed, say

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARIES = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib")

XEN_PROGRAMS = ("xl", "xenconsoled", "xen-init-dom0", "xenstored", "libxl-save-helper", "lsevtchn", "xentop")
XENSTORE = ("", "-ls", "-read", "-write", "-list", "-watch", "-rm", "-chmod")
FILE_SYSTEM = ("/sbin/mke2fs", "/sbin/e2fsck", "/usr/bin/fio")
NET = ("/usr/bin/iperf3", "/usr/sbin/ethtool", "/usr/bin/tcpdump")
VERIFY = "tests/e2e/net/net-verify"
DATA_PATH = "tests/xen/data-path"
TESTPMD = "/usr/bin/dpdk-testpmd"
STDBUF = "/usr/libexec/coreutils/libstdbuf.so"
TESTPMD_DRIVERS = ("backends/net/dpdk/librte_net_xenback.so", "frontends/net/dpdk/librte_net_xenfront.so")
# What DPDK loads at its start: this machine's, as the libraries that splitringd is linked with.
DPDK = "/usr/lib/*/dpdk/pmds-*/librte_{}.so.*.*"
DPDK_DRIVERS = ("bus_vdev", "mempool_ring", "net_tap", "net_af_packet")
CONTRACT = ("contract-peer", *(f"test_contract_{name}" for name in ("gnttab", "evtchn", "gntshr", "xenstore", "death")))
HOSTILE = ("frontends/hostile/hostile-blkfront",
           *(f"tests/hostile/blk/guest-hostile-{name}" for name in ("nodes", "requests", "ring", "stages")))
DRIVERS = ("tests/hostile/blk/held.so", "tests/xen/blk-xor.so")
EXT4 = ("crc32c_generic", "ext4")
DOM0_MODULES = ("xen-evtchn", "xen-gntdev", "xen-gntalloc", "xenfs", "xen-privcmd", "loop", "brd", "null_blk",
                "xen-blkback", "xen-netback", "bridge", "tun", "nvme", *EXT4)
GUEST_MODULES = ("xen-blkfront", "xen-netfront", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "brd", *EXT4)

# All that Debian's says of a small ext4.
MKE2FS = """[defaults]
	base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
	blocksize = 4096
	inode_size = 256
[fs_types]
	small = {
		inode_ratio = 4096
	}
	ext4 = {
		features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
	}
"""


def kernel(path):
    """The ELF file in a bzImage: Xen and xl take it as it is, and nobody has to decompress it."""
    data = content(path)
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1F1] or 4) + 1) * 512 + offset
    payload = data[start:start + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        found = lzma.LZMADecompressor().decompress(payload)
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        # The size of what comes out follows the frame; zstd complains of it after it has done all.
        found = subprocess.run(["zstd", "-dcq"], input=payload, capture_output=True, check=False).stdout
    else:
        raise Failed(f"{path}: compressed in a way that is not known here")
    if not found.startswith(b"\x7fELF"):
        raise Failed(f"{path}: what it is compressed to is no ELF file")
    return found


class Builder:
    """Puts files of a release, with what they need, into a tree."""

    def __init__(self, release):
        self.release = release
        self.tree = Tree()
        self.modules = {}
        self.stubs = True

    def library(self, name, runpath):
        """Where a library lies: in the release, else on this machine (one that only our build has)."""
        for folder in (*runpath, *LIBRARIES):
            path = self.release.path(f"{folder}/{name}")
            if os.path.exists(path):
                return f"{folder}/{name}", path
        for folder in (*runpath, *LIBRARIES):
            if os.path.exists(f"{folder}/{name}"):
                return f"{folder}/{name}", f"{folder}/{name}"
        raise Failed(f"library {name} is neither in {self.release.name} nor on this machine")

    def program(self, path, source=None):
        """A program or library, with its libraries. Without `source` it is the release's."""
        source = source or self.release.path(path)
        if not os.path.exists(source):
            raise Failed(f"{self.release.name} has no {path}")
        self.tree.file(path, source)
        text = subprocess.run(["readelf", "-dlW", source], capture_output=True, text=True, check=False).stdout
        runpath = [p for found in re.findall(r"R(?:UN)?PATH\)\s.*\[(.*)\]", text) for p in found.split(":")]
        needed = re.findall(r"\(NEEDED\)\s.*\[(.*)\]", text)
        loader = re.findall(r"interpreter: (.*?)\]", text)
        for name in needed:
            target, found = self.library(name, runpath)
            if self.tree.has(target):
                continue
            if self.stubs and stub.wanted(name):
                self.tree.file(target, stub.make(name, found, os.path.join(self.release.folder, "stubs")))
            else:
                self.program(target, found)
        for name in loader:
            self.tree.file(name, self.library(os.path.basename(name), [])[1])

    def busybox(self):
        self.tree.file("/bin/busybox", self.release.path("/bin/busybox"))
        names = subprocess.check_output([self.release.path("/bin/busybox"), "--list"], text=True).split()
        for name in names:
            if not self.tree.has(f"/bin/{name}"):
                self.tree.link(f"/bin/{name}", "busybox")

    def find_modules(self):
        base = self.release.path(f"/lib/modules/{self.release.kernel_version()}")
        for path in glob.glob(f"{base}/kernel/**/*.ko*", recursive=True):
            self.modules[os.path.basename(path).split(".")[0].replace("-", "_")] = path

    def module(self, name, order):
        """A module after those that it needs; `order` gets them as they have to be loaded."""
        if not self.modules:
            self.find_modules()
        name = name.replace("-", "_")
        path = self.modules.get(name)
        if not path or name in order:
            return  # built in, or there already
        data = content(path)
        if path.endswith(".xz"):
            data = lzma.decompress(data)
        needs = re.search(rb"\0depends=([^\0]*)", data)
        for other in needs[1].decode().split(",") if needs else []:
            self.module(other, order)
        order[name] = [o.replace("-", "_") for o in (needs[1].decode().split(",") if needs else []) if o]
        self.tree.data(f"/modules/{name}.ko", data)

    def add_modules(self, names):
        """And what modprobe wants to know of them."""
        order = {}
        for name in names:
            self.module(name, order)

        def all_needed(name):
            """Loaded from the last to the first: so each stands before those that it needs."""
            found = []
            for other in order.get(name, []):
                more = [o for o in (other, *all_needed(other)) if o in order]
                found = [o for o in found if o not in more] + more
            return found

        folder = f"/lib/modules/{self.release.kernel_version()}"
        text = "".join(f"/modules/{n}.ko:{''.join(f' /modules/{o}.ko' for o in all_needed(n))}\n" for n in order)
        self.tree.data(f"{folder}/modules.dep", text)
        for name in ("alias", "symbols"):
            self.tree.data(f"{folder}/modules.{name}", "")

    def skeleton(self, init):
        """What any Linux needs that starts with the program `init` of ours."""
        for path in ("/proc", "/sys", "/run", "/tmp", "/root", "/var/log/xen", "/var/lib/xen", "/var/lib/xenstored",
                     "/var/lock", "/etc/xen", "/mnt"):
            self.tree.folder(path)
        self.tree.link("/var/run", "/run")
        self.tree.data("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        self.tree.data("/etc/group", "root:x:0:\n")
        self.tree.file("/init", init)
        # pthread_cancel() opens it by name.
        self.program(*self.library("libgcc_s.so.1", []))

    def base(self, init, agent):
        self.skeleton(f"{HERE}/{init}")
        self.program("/bin/agent", agent)
        self.program("/bin/bash")
        for path in (*FILE_SYSTEM, *NET):
            self.program(path)
        self.tree.link("/sbin/mkfs.ext4", "mke2fs")
        self.tree.link("/sbin/fsck.ext4", "e2fsck")
        self.tree.data("/etc/mke2fs.conf", MKE2FS)


def add_tests(builder, build):
    """Programs of ours that run in either: the contract suite and its peer, verified traffic, measurements."""
    for path in (VERIFY, DATA_PATH):
        builder.program(f"/usr/bin/{os.path.basename(path)}", f"{build}/{path}")
    for name in CONTRACT:
        builder.program(f"/usr/bin/{name}", f"{build}/tests/contract/{name}")


def add_daemon(builder, build):
    """splitringd, its command, and what it loads where it serves NICs."""
    for name in DPDK_DRIVERS:
        for path in glob.glob(DPDK.format(name)):
            short = path.rsplit(".", 1)[0]
            # Where others look for it: the same file, else it would be loaded twice.
            library = "/".join((*path.split("/")[:-3], os.path.basename(short)))
            if os.path.islink(library):
                builder.tree.link(library, os.readlink(library))
            builder.program(path, path)
            builder.tree.link(short, os.path.basename(path))
    for name in ("splitringd", "splitring"):
        builder.program(f"/usr/sbin/{name}", f"{build}/tools/{name}")


def add_testpmd(builder, build):
    """This machine's, as DPDK's libraries are, and our two drivers for it. Before others, whose stubs it can't do with."""
    builder.stubs = False
    builder.program(TESTPMD, TESTPMD)
    # stdio would keep its words back in a file.
    builder.program(STDBUF, STDBUF)
    for path in TESTPMD_DRIVERS:
        builder.program(f"/usr/lib/{os.path.basename(path)}", f"{build}/{path}")
    builder.stubs = True


def guest_tree(release, build, testpmd):
    b = Builder(release)
    if testpmd:
        add_testpmd(b, build)
    b.base("guest/init", f"{build}/tests/xen/agent")
    for name in XENSTORE:
        b.program(f"/usr/bin/xenstore{name}")
    # A guest may be a driver domain.
    add_daemon(b, build)
    add_tests(b, build)
    for path in HOSTILE:
        b.program(f"/usr/bin/{os.path.basename(path)}", f"{build}/{path}")
    b.add_modules(GUEST_MODULES)
    b.busybox()
    return b.tree


def dom0_tree(release, build, files, testpmd):
    """`files`: where guests' kernel and initramfs lie here."""
    b = Builder(release)
    if testpmd:
        add_testpmd(b, build)
    b.base("dom0/init", f"{build}/tests/xen/agent")
    xen = f"/usr/lib/xen-{release.xen}"
    for name in XEN_PROGRAMS:
        b.program(f"{xen}/bin/{name}")
        b.tree.link(f"/usr/bin/{name}", f"{xen}/bin/{name}")
    for name in XENSTORE:
        b.program(f"/usr/bin/xenstore{name}")
    b.program("/usr/libexec/xen-qemu-system-i386")
    for name in ("linuxboot.bin", "linuxboot_dma.bin", "kvmvapic.bin"):
        b.tree.file(f"/usr/share/qemu/{name}", release.path(f"/usr/share/qemu/{name}"))
    keymaps = release.path("/usr/share/qemu/keymaps")
    for name in os.listdir(keymaps):
        b.tree.file(f"/usr/share/qemu/keymaps/{name}", f"{keymaps}/{name}")
    b.tree.file("/usr/share/seabios/bios-256k.bin", release.path("/usr/share/seabios/bios-256k.bin"))
    b.tree.file(f"{xen}/boot/hvmloader", release.path(f"{xen}/boot/hvmloader"))
    b.tree.data("/etc/xen/xl.conf", "")
    b.tree.file("/etc/xen/scripts/block", f"{HERE}/dom0/block")
    for name in ("vif-nothing", "vif-linux"):
        b.tree.file(f"/etc/xen/scripts/{name}", f"{HERE}/dom0/{name}")
    hotplug = f"{HERE}/../../tools/hotplug"
    for name in os.listdir(hotplug) if os.path.isdir(hotplug) else []:
        if not name.startswith("meson"):
            b.tree.file(f"/etc/xen/scripts/{name}", f"{hotplug}/{name}")
    add_daemon(b, build)
    for path in DRIVERS:
        b.program(f"/usr/lib/splitring/{os.path.basename(path)}", f"{build}/{path}")
    add_tests(b, build)
    for name, source in files.items():
        b.tree.file(f"/guest/{name}", source)
    b.add_modules(DOM0_MODULES)
    b.busybox()
    return b.tree


def stamp(tree, extra=()):
    """Changes when the content of the tree may have."""
    def what(source):
        if isinstance(source, bytes):
            return hashlib.sha256(source).hexdigest()
        found = os.stat(source)
        return [source, found.st_size, found.st_mtime_ns]
    nodes = [[name, mode, what(source)] for name, (mode, source) in sorted(tree.nodes.items())]
    return hashlib.sha256(json.dumps([nodes, *extra]).encode()).hexdigest()


def write(tree, path):
    """The tree as an image, if it is not that already."""
    now = stamp(tree)
    try:
        with open(f"{path}.stamp", encoding="ascii") as file:
            if file.read() == now and os.path.exists(path):
                return
    except FileNotFoundError:
        pass
    say(f"making {os.path.relpath(path)}")
    tree.write(path)
    with open(f"{path}.stamp", "w", encoding="ascii") as file:
        file.write(now)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def derive(path, source, get):
    """Makes a file of what get(source) gives, if it is not there or is another source's: they share a time."""
    time = os.stat(source).st_mtime_ns
    if not os.path.exists(path) or os.stat(path).st_mtime_ns != time:
        with open(f"{path}.new", "wb") as file:
            file.write(get(source))
        os.utime(f"{path}.new", ns=(time, time))
        os.rename(f"{path}.new", path)


def pack(path, to):
    """For an HVM guest's boot loader, which moves a byte at a time."""
    if not os.path.exists(to) or os.stat(to).st_mtime_ns < os.stat(path).st_mtime_ns:
        with open(f"{to}.new", "wb") as file:
            file.write(gzip.compress(content(path), 6))
        os.rename(f"{to}.new", to)


def images(release, build, testpmd=False):
    """Makes what is not up to date, with `testpmd` in it or not; the paths of Xen, the kernel and dom0's initramfs."""
    os.makedirs(release.folder, exist_ok=True)
    with open(f"{release.folder}/lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may make the same ones
        release.fetch()
        return make(release, build, testpmd)


def make(release, build, testpmd):
    folder = release.folder
    guest, dom0 = (f"{folder}/{name}{'-testpmd' if testpmd else ''}" for name in ("guest", "dom0"))
    version = release.kernel_version()
    files = {"vmlinuz": release.path(f"/boot/vmlinuz-{version}"), "vmlinux": f"{folder}/vmlinux",
             "initrd.img": f"{guest}.img", "initrd.gz": f"{guest}.gz"}
    derive(files["vmlinux"], files["vmlinuz"], kernel)
    derive(f"{folder}/xen", release.path(f"/boot/xen-{release.xen}-amd64.gz"), lambda path: gzip.decompress(content(path)))
    write(guest_tree(release, build, testpmd), files["initrd.img"])
    pack(files["initrd.img"], files["initrd.gz"])
    write(dom0_tree(release, build, files, testpmd), f"{dom0}.img")
    return f"{folder}/xen", files["vmlinux"], f"{dom0}.img"
