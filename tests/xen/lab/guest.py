"""A guest: its configuration for xl, and an agent on its console."""
import os
import time

from .channel import Channel, Machine
from .say import Failed, say

COMMON = """name = "{name}"
type = "{kind}"
memory = {memory}
vcpus = {vcpus}
cpus = "{cpus}"
extra = "console=hvc0 rdinit=/init quiet loglevel=4 panic=-1 {extra}"
on_crash = "{on_crash}"
on_reboot = "{on_reboot}"
disk = [ {disks} ]
vif = [ {vifs} ]
"""
KINDS = {
    "pv": 'kernel = "/guest/vmlinux"\nramdisk = "/guest/initrd.img"\n',
    "pvh": 'kernel = "/guest/vmlinux"\nramdisk = "/guest/initrd.img"\ntsc_mode = "native"\n',
    # QEMU's boot loader knows no ELF file; the disks that QEMU would emulate are none of xvd*.
    "hvm": 'kernel = "/guest/vmlinuz"\nramdisk = "/guest/initrd.gz"\ntsc_mode = "native"\n'
           'vga = "none"\nsdl = 0\nvnc = 0\nxen_platform_pci = 1\n',
}


def ours(target, vdev="xvda", access="rw"):
    """xl's words for a disk that splitringd serves."""
    return f"vdev={vdev},format=raw,access={access},script=block-splitring,target={target}"


def linux(device, vdev="xvda", access="rw"):
    """The same for Linux's xen-blkback, which wants a block device."""
    return f"vdev={vdev},format=raw,access={access},backendtype=phy,script=block,target={device}"


def qdisk(path, vdev="xvda", access="rw"):
    """The same for QEMU."""
    return f"vdev={vdev},format=raw,access={access},backendtype=qdisk,target={path}"


class Guest(Machine):
    """A Linux guest. Options: memory in MiB, vcpus, cpus, extra (kernel), vifs, config (more lines)."""

    def __init__(self, host, name, kind="pv", disks=(), memory=192, vcpus=1, cpus="1", extra="", vifs=(),
                 on_crash="destroy", on_reboot="destroy", config=""):
        if kind not in KINDS:
            raise Failed(f"no kind of guest is called '{kind}': {', '.join(KINDS)}")
        self.host, self.name, self.kind = host, name, kind
        self.domid = None
        self.relay = None
        self.log = None
        self.config = KINDS[kind] + config + COMMON.format(
            name=name, kind=kind, memory=memory, vcpus=vcpus, cpus=cpus, extra=extra, on_crash=on_crash, on_reboot=on_reboot,
            disks=", ".join(f"'{disk}'" for disk in disks), vifs=", ".join(f"'{vif}'" for vif in vifs))

    def create(self, timeout=600):
        started = time.monotonic()
        path = f"/tmp/{self.name}.cfg"
        self.host.put(path, self.config)
        self.host.good(f"xl create {path}", timeout)
        self.domid = int(self.host.good(f"xl domid {self.name}"))
        self.connect()
        self.channel.wait_hello(timeout)
        say(f"guest {self.name} ({self.kind}) is up, {time.monotonic() - started:.1f} s after xl create")

    def connect(self):
        """Ties our agent's stream to the guest's console."""
        node = f"/local/domain/{self.domid}/console/tty"
        tty = self.host.wait_for("a console", f"xenstore-read {node}")
        self.log = open(os.path.join(self.host.folder, f"{self.name}.log"), "a", encoding="utf-8")
        # An old relay may end when there is another channel already.
        self.channel = channel = Channel(self.name, lambda text: self.relay.write(text), self.log)
        self.relay = self.host.start(f"agent relay {tty}", talk=True, on_output=channel.feed,
                                     on_end=lambda: channel.end("its console has closed"))
        self.host.guests[self.name] = self

    def came_back(self, fresh, timeout=120):
        """It has another domain ID; fresh: its agent starts anew, else it goes on in mid-life."""
        old, number = self.domid, self.channel.next
        self.host.wait_for(f"another {self.name}", f"id=$(xl domid {self.name}) && [ $id != {old} ]", timeout)
        self.forget()
        self.domid = int(self.host.good(f"xl domid {self.name}"))
        self.connect()
        self.channel.next = number
        if fresh:
            self.channel.wait_hello(timeout)

    def wait_gone(self, timeout=60):
        self.host.wait_for(f"the end of {self.name}", f"! xl domid {self.name} 2>/dev/null", timeout)
        self.forget()

    def shutdown(self, timeout=60):
        """As an operator does it: the guest closes its disks itself."""
        self.channel.start("sync; poweroff -f")
        self.wait_gone(timeout)

    def destroy(self):
        self.host.good(f"xl destroy {self.name}")
        self.forget()

    def forget(self):
        if self.host.guests.pop(self.name, None):
            self.relay.kill()
            self.channel.end("it was destroyed")
            self.log.close()

    def backend(self, vdev="xvda", kind="vbd"):
        """The backend directory of a disk, in dom0's xenstore."""
        number = {"xvda": 51712, "xvdb": 51728, "xvdc": 51744, "xvdd": 51760, "xvde": 51776}[vdev]
        return f"/local/domain/0/backend/{kind}/{self.domid}/{number}"
