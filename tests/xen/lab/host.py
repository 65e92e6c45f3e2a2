"""The Xen host: QEMU, Xen, dom0."""
import contextlib
import os
import socket
import subprocess
import threading
import time
import types

from .channel import Channel, Machine
from .guest import Guest
from .say import say

# Seen with QEMU 7.2: with monitor Xen faults in its idle loop; with smap dom0 dies at its first access; with
# rdtscp a PVH guest hangs; with xsave domains that share a processor corrupt each other's registers.
CPU = "EPYC,+svm,-monitor,-smap,-smep,-rdtscp,-xsave"
# For boot(): the clock counts instructions, 2 ns each, whoever executes them and however busy this machine is.
BY_INSTRUCTIONS = {"accel": "tcg,thread=single,tb-size=1024", "more": ["-icount", "shift=1,sleep=off"]}
XEN = "com1=115200,8n1 console=com1 loglvl=all guest_loglvl=all noreboot cpuidle=0"


class Host(Machine):
    """
    A host that is up, until close(). Options: memory and dom0_memory in MiB, cpus, xen (more of Xen's
    command line), dom0 (of the kernel's), accel and more (QEMU's).
    """

    def __init__(self, images, folder, options):
        self.folder = folder
        self.guests = {}
        self.profile = None
        self.options = {"memory": 2560, "dom0_memory": 1024, "cpus": 2, "xen": "", "dom0": "", "more": [],
                        "accel": "tcg,thread=multi,tb-size=512", **options}
        self.started = time.monotonic()
        ours, theirs = socket.socketpair()
        xen, kernel, initramfs = images
        dom0 = self.options["dom0_memory"]
        self.serial = os.path.join(folder, "serial.log")
        command = [
            "qemu-system-x86_64", "-accel", self.options["accel"], "-cpu", CPU, "-smp", str(self.options["cpus"]),
            "-m", str(self.options["memory"]), "-display", "none", "-no-reboot", "-nodefaults", "-monitor", "none",
            "-serial", f"file:{self.serial}",
            "-chardev", f"socket,id=agent,fd={theirs.fileno()}", "-serial", "chardev:agent",
            "-kernel", xen, "-append",
            f"dom0_mem={dom0}M,max:{dom0}M dom0_max_vcpus=1 dom0_vcpus_pin {XEN} {self.options['xen']}",
            "-initrd", f"{kernel} console=hvc0 rdinit=/init quiet {self.options['dom0']},{initramfs}",
            *self.options["more"]]
        with open(os.path.join(folder, "qemu.log"), "w", encoding="utf-8") as log:
            log.write(" ".join(command) + "\n")
            log.flush()
            # Ends with us, however we end: it would take a processor for good.
            self.qemu = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         pass_fds=[theirs.fileno()])
        theirs.close()
        self.socket = ours
        self.log = open(os.path.join(folder, "dom0.log"), "w", encoding="utf-8")
        self.channel = Channel("dom0", lambda text: ours.sendall(text.encode()), self.log)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        try:
            while data := self.socket.recv(65536):
                self.channel.feed(data.decode(errors="replace"))
        except OSError:
            pass
        why = f"QEMU has ended, see {self.folder}/qemu.log and serial.log"
        for guest in list(self.guests.values()):
            guest.channel.end(why)
        self.channel.end(why)

    def wait_up(self, timeout=180):
        self.channel.wait_hello(timeout)
        say(f"dom0 is up, {time.monotonic() - self.started:.1f} s after the start")

    def profiled(self, what, machines):
        """`with host.profiled("what", (host, guest)) as result`: says where it went, if this run is profiled."""
        return self.profile.of(what, machines) if self.profile else contextlib.nullcontext(types.SimpleNamespace())

    def create(self, name, kind="pv", disks=(), **options):
        """`xl create`, and the wait for the guest's agent. See Guest for the options."""
        guest = Guest(self, name, kind, disks, **options)
        guest.create()
        return guest

    def nodes(self, path):
        """The lines of xenstore-ls -f, none if there is no such node."""
        return self.run(f"xenstore-ls -f {path} 2>/dev/null").output.splitlines()

    def close(self):
        if self.qemu.poll() is None:
            self.qemu.terminate()
            try:
                self.qemu.wait(10)
            except subprocess.TimeoutExpired:
                self.qemu.kill()
                self.qemu.wait()
        self.reader.join(5)
        self.socket.close()
        self.log.close()
