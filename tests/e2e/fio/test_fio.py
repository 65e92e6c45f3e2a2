#!/usr/bin/env python3
"""
The distribution's fio as the program of a guest that `splitring create` starts, on disks that the
shipped splitringd serves. All combinations of the engine's options are tested in e2e/blk; this is
the way that a user goes.
"""
import os
import sys

SOURCE, BUILD = os.environ["SR_SOURCE"], os.environ["SR_BUILD"]
sys.path.insert(0, f"{SOURCE}/bench")
from lib import fio  # noqa: E402
from lib.machine import Machine  # noqa: E402

VERIFY = ["--rw=randwrite", "--iodepth=32", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1",
          "--verify_state_save=0"]

# (name, the disk's target, fio's arguments)
CASES = [
    ("512 bytes to 1 MiB, file", "uring:{image}", [*VERIFY, "--bsrange=512-1m", "--size=48m"]),
    ("libaio driver", "aio:{image}", [*VERIFY, "--bsrange=4k-256k", "--size=32m"]),
    ("ram driver", "ram:size=64M", [*VERIFY, "--bsrange=4k-256k", "--size=64m"]),
    ("grants taken back after each request", "ram:size=64M",
     [*VERIFY, "--bsrange=512-128k", "--persistent=0", "--size=32m"]),
    ("ring of 16 pages, 32-bit layout", "ram:size=64M",
     [*VERIFY, "--bs=4k", "--ring_order=4", "--iodepth=256", "--abi=x86_32", "--size=32m"]),
    ("flushes between writes", "uring:{image}", [*VERIFY, "--bs=4k", "--fsync=16", "--size=4m"]),
    ("trim", "uring:{image}", ["--rw=trim", "--bs=64k", "--iodepth=8", "--size=16m"]),
]

FAILURES = [
    ("a disk that is not there", "ram:size=64M", ["--rw=read", "--bs=4k", "--size=1m"], "xvdz"),
    ("a disk that has only 4 KiB sectors to give", "ram:size=1M",
     ["--rw=read", "--bs=100", "--size=1000"], "xvda"),
]


def arguments(args):
    return ["--name=test", "--ioengine=splitring", "--thread", "--randrepeat=1",
            "--output-format=json", *args]


def run_case(machine, image, target, args):
    """None, or what went wrong. fio.Failed is what fio says of a checksum that is not right."""
    try:
        result = machine.run_guest(target.format(image=image), arguments(args))
    except fio.Failed as failure:
        return str(failure)
    return None if result["total_ios"] else "fio did nothing"


def run_failure(machine, target, args, disk):
    try:
        machine.run_guest(target, arguments(args), filename=disk)
    except fio.Failed:
        return None
    return "fio reported success"


def zeroes(image):
    with open(image, "rb") as file:
        return None if file.read(16 << 20) == bytes(16 << 20) else "trimmed blocks still hold data"


def main():
    number = failed = 0

    def report(name, problem):
        nonlocal number, failed
        number += 1
        failed += bool(problem)
        print(f"{'not ok' if problem else 'ok'} {number} - {name}")
        for line in (problem or "").splitlines():
            print(f"# {line}")

    with Machine(BUILD, None) as machine:
        image = machine.path("disk.img")
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        for name, target, args in CASES:
            report(name, run_case(machine, image, target, args))
        report("trim reached the image", zeroes(image))
        for name, target, args, disk in FAILURES:
            report(name, run_failure(machine, target, args, disk))
        info = machine.machine_info()
        report("no guest left anything behind",
               None if info["domains"] == 1 and info["event_channels"] == 0 else repr(info))
    print(f"1..{number}")
    return 1 if failed else 0


sys.exit(main())
