#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`./dev bench blk` that is ended by SIGTERM leaves nothing behind. No figure is judged."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

BUILD, SOURCE = os.environ["SR_BUILD"], os.environ["SR_SOURCE"]
sys.path.insert(0, f"{SOURCE}/tests/e2e/tools")
from harness import Skip, equal, main  # noqa: E402


def processes(word):
    """Command lines with that word in them."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


def test_sigterm():
    """no daemon, no machine, no loop device, no file"""
    if os.cpu_count() < 2 or not shutil.which("fio"):
        raise Skip("needs two cores and fio")
    if shutil.disk_usage("/dev/shm").free < 1 << 30:
        raise Skip("needs 1 GiB in /dev/shm")
    before = set(glob.glob("/dev/shm/splitring-*"))
    with tempfile.TemporaryDirectory(prefix="splitring-test-") as work:
        os.mkdir(f"{work}/out")
        with subprocess.Popen([f"{SOURCE}/bench/blk", "--build", BUILD, "--out", f"{work}/out/bench",
                               "--workload", "randread-4k-1", "--runtime", "60", "--rounds", "1"],
                              cwd=work, env={**os.environ, "SPLITRING_RUN": f"{work}/run", "TMPDIR": work},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bench:
            name = f"bench-{bench.pid}"
            line = "something"
            while line and "contenders" not in line:
                line = bench.stdout.readline()
            assert processes(name), "it has started no machine"
            bench.terminate()
            _, err = bench.communicate(timeout=60)
        equal((bench.returncode, err), (1, "bench: terminated\n"))
        equal(processes(name), [])
        equal(processes(work), [])
        equal(set(glob.glob("/dev/shm/splitring-*")) - before, set())
        equal(os.listdir(f"{work}/out"), ["bench"])
        equal([name for name in os.listdir(work) if name.startswith("splitring-")], [])
        loops = subprocess.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"],
                               capture_output=True, text=True, check=False).stdout
        assert "splitring-" not in loops, loops


def test_child_in_the_making():
    """a child that nobody has yet when the signal comes"""
    number = f"1{os.getpid()}.25"
    script = ("import os, signal, subprocess, sys\n"
              f"sys.path.insert(0, '{SOURCE}/bench')\n"
              "from lib import ending\n"
              "ending.prepare()\n"
              f"subprocess.Popen(['sleep', '{number}'])\n"
              "os.kill(os.getpid(), signal.SIGTERM)\n"
              "signal.pause()\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    equal((done.returncode, done.stderr), (1, "bench: terminated\n"))
    equal(processes(f"sleep {number}"), [])


main([test_sigterm, test_child_in_the_making])
