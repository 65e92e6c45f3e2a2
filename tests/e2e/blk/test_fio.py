#!/usr/bin/env python3
"""test_fio.py SERVE ENGINE [PRELOAD]: fio as a guest's program, over the real backend; speaks TAP.

PRELOAD is what has to be loaded before anything else into a process that loads a sanitized ENGINE.
"""
import os
import subprocess
import sys
import tempfile
import threading

serve, engine = map(os.path.abspath, sys.argv[1:3])
preload = sys.argv[3] if len(sys.argv) > 3 else ""
MIB = 1 << 20
count = 0
failures = 0


def report(name, problem):
    global count, failures
    count += 1
    if problem:
        failures += 1
        print(f"not ok {count} - {name}")
        for line in problem.splitlines()[-12:]:
            print(f"# {line}")
    else:
        print(f"ok {count} - {name}")
    sys.stdout.flush()


class Machine:
    """A machine with a backend and a guest that has the given disks."""

    def __init__(self, *disks):
        self.process = subprocess.Popen([serve, *disks], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        if status:
            report("the machine ends well", f"exit status {status}")

    def fio(self, *args, hv=True, meanwhile=None):
        """(exit status, output) of a fio run; meanwhile(line) is called with each line of it."""
        env = dict(os.environ)
        env.pop("SPLITRING_HYPERVISOR", None)
        if hv:
            env["SPLITRING_HYPERVISOR"] = self.address
        if preload:
            env["LD_PRELOAD"] = preload
            # fio itself leaks, and it is not what is tested.
            env["ASAN_OPTIONS"] = "detect_leaks=0:halt_on_error=1"
        command = ["fio", f"--ioengine=external:{engine}", "--name=guest", *args]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT) as process:
            late = threading.Timer(120, process.kill)
            late.start()
            text = []
            for line in process.stdout:
                text.append(line)
                if meanwhile:
                    meanwhile(line)
            status = process.wait()
            late.cancel()
        return status, "".join(text)

    def good(self, name, *args):
        status, text = self.fio(*args)
        report(name, "" if status == 0 else f"exit status {status}\n{text}")

    def bad(self, name, words, *args, hv=True, meanwhile=None):
        """The run fails, and says `words`."""
        status, text = self.fio(*args, hv=hv, meanwhile=meanwhile)
        if status == 0:
            report(name, "fio should have failed")
        else:
            report(name, "" if words in text else f"'{words}' is missing in:\n{text}")


VERIFY = ["--verify=crc32c", "--iodepth=16", "--size=4m", "--verify_fatal=1"]


def verify_every_size(machine):
    """Sizes around pages, around the eleven segments of a plain request, and far above."""
    ways = {
        "plain requests": ["--indirect=0"],
        "indirect requests": ["--indirect=64", "--ring_order=1"],
        "grants per request": ["--persistent=0", "--indirect=0", "--abi=x86_32"],
        "polling": ["--poll=1", "--abi=x86_64"],
    }
    for way, options in ways.items():
        for size in ("512", "1536", "4k", "5632", "44k", "45k", "1m"):
            machine.good(f"verify {size}, {way}", "--filename=xvda", "--rw=randwrite",
                         f"--bs={size}", *VERIFY, *options)
        machine.good(f"verify mixed sizes, {way}", "--filename=xvda", "--rw=randrw",
                     "--bsrange=512-256k", "--blockalign=512", "--fsync=7", "--fdatasync=5",
                     "--serialize_overlap=1", *VERIFY, *options)


def others(machine, image):
    machine.good("trim", "--filename=xvda", "--rw=randtrim", "--bs=64k", "--size=8m",
                 "--iodepth=4")
    machine.good("three threads, a queue each", "--filename=xvda", "--rw=randwrite", "--bs=4k",
                 "--thread", "--numjobs=3", "--offset_increment=4m", *VERIFY)
    machine.good("as a process", "--filename=xvda", "--rw=write", "--bs=64k", *VERIFY)
    machine.good("two disks in one job", "--filename=xvda:xvdb", "--rw=randwrite", "--bs=8k",
                 *VERIFY)
    machine.good("a limited rate", "--filename=xvda", "--rw=randread", "--bs=4k", "--iodepth=8",
                 "--size=1m", "--rate_iops=2000")
    machine.good("depth beyond the ring", "--filename=xvda", "--rw=randrw", "--bs=4k",
                 "--verify=crc32c", "--iodepth=200", "--size=8m")
    machine.good("one after the other", "--filename=xvda", "--rw=write", "--bs=4k", "--size=1m",
                 "--name=second", "--stonewall", "--filename=xvda", "--rw=read", "--bs=4k",
                 "--size=1m")
    machine.bad("two processes at a time", "have to be threads", "--filename=xvda", "--rw=read",
                "--bs=4k", "--size=1m", "--numjobs=2", "--time_based", "--runtime=1")
    machine.bad("more threads than queues", "all in use", "--filename=xvda", "--rw=read",
                "--bs=4k", "--size=1m", "--numjobs=5", "--thread", "--time_based", "--runtime=1")
    machine.bad("no such disk", "no disk xvdq", "--filename=xvdq", "--rw=read")
    machine.bad("no disk named", "no name of a virtual disk", "--rw=read", "--size=1m")
    machine.bad("no disk's name", "no name of a virtual disk", "--filename=floppy", "--rw=read")
    machine.bad("no hypervisor named", "SPLITRING_HYPERVISOR isn't set", "--filename=xvda",
                "--rw=read", hv=False)
    machine.bad("no hypervisor there", "can't open the hypervisor", "--filename=xvda", "--rw=read",
                "--hv=embedded:/nowhere#1", hv=False)
    machine.bad("a write to a read-only disk", "Read-only file system", "--filename=xvdc",
                "--rw=write", "--bs=4k", "--size=1m")
    machine.good("a read from a read-only disk", "--filename=xvdc", "--rw=read", "--bs=4k",
                 "--size=1m")

    def shrink(line):
        # Not before it reads: a new connection would see a smaller disk.
        if "[R(1)]" in line:
            os.truncate(image, MIB)

    machine.bad("the image shrinks under the disk", "Input/output error", "--filename=xvda",
                "--rw=read", "--bs=64k", "--size=8m", "--time_based", "--runtime=60",
                "--rate_iops=500", "--eta=always", "--eta-newline=1", meanwhile=shrink)


def main():
    with tempfile.TemporaryDirectory(prefix="sr-fio-") as work:
        image, fixed = os.path.join(work, "image"), os.path.join(work, "fixed")
        for path in (image, fixed):
            with open(path, "wb") as file:
                file.truncate(16 * MIB)
        os.chdir(work)  # fio leaves verification states where it stands
        with Machine("xvda=ram:size=16M") as machine:
            verify_every_size(machine)
        with Machine(f"xvda=uring:{image}", "xvdb=ram:size=16M", f"xvdc=uring:{fixed}=r") as machine:
            others(machine, image)
    print(f"1..{count}")
    return 1 if failures else 0


sys.exit(main())
