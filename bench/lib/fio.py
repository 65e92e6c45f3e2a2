"""Runs fio and reads what it measured."""
import json
import os
import shlex
import subprocess
import tempfile

FIO = "/usr/bin/fio"
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A run that gave no figure; its text is for a person."""


# One generator for everybody: what a workload asks of fio. `batch` is how many requests fio hands
# over at a time: 1 is fio's default; a guest's block layer plugs requests, so 8 is measured too.
WORKLOADS = {
    "randread-4k-32": {"rw": "randread", "bs": "4k", "iodepth": 32, "batch": 1},
    "randread-4k-32-batched": {"rw": "randread", "bs": "4k", "iodepth": 32, "batch": 8},
    "randwrite-4k-32-batched": {"rw": "randwrite", "bs": "4k", "iodepth": 32, "batch": 8},
    "randread-4k-1": {"rw": "randread", "bs": "4k", "iodepth": 1, "batch": 1},
    "read-128k-8": {"rw": "read", "bs": "128k", "iodepth": 8, "batch": 2},
}


def arguments(workload, engine, cpu, runtime, size, extra=()):
    """fio's command line, without the program's name."""
    load = WORKLOADS[workload]
    return [
        "--name=bench", f"--ioengine={engine}", f"--rw={load['rw']}", f"--bs={load['bs']}",
        f"--iodepth={load['iodepth']}", f"--iodepth_batch_submit={load['batch']}",
        "--iodepth_batch_complete_min=1", f"--iodepth_batch_complete_max={load['iodepth']}",
        "--norandommap", "--randrepeat=0", "--time_based", f"--runtime={runtime}",
        "--ramp_time=300ms", "--thread", f"--cpus_allowed={cpu}", f"--size={size}",
        "--output-format=json", *extra,
    ]


def read_result(path):
    """The figures of fio's JSON file."""
    with open(path, encoding="utf-8") as file:
        return parse(file.read())


def parse(text):
    """The figures of fio's JSON: iops, mb_s, p50_us, p99_us, total_ios."""
    if "{" not in text:
        raise Failed(f"fio wrote no result: {text.strip()[:300] or 'nothing at all'}")
    job = json.loads(text[text.index("{"):])["jobs"][0]
    if job["error"]:
        raise Failed(f"fio ended with error {job['error']}")
    side = next((job[s] for s in ("read", "write", "trim") if job[s]["total_ios"]), job["read"])
    percentiles = side["clat_ns"].get("percentile", {})
    if not side["total_ios"]:
        raise Failed("fio did no I/O")
    return {
        "iops": side["iops"],
        "mb_s": side["bw_bytes"] / 1e6,
        "p50_us": percentiles.get("50.000000", 0) / 1e3,
        "p99_us": percentiles.get("99.000000", 0) / 1e3,
        "total_ios": side["total_ios"],
    }


def run(args, timeout=120):
    """Runs fio here (not in a guest)."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [FIO, *args, f"--output={out.name}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout, check=False, text=True)
        if done.returncode:
            raise Failed(f"{shlex.join(command)}: exit status {done.returncode}: "
                         f"{done.stdout.strip()[-400:]}")
        return read_result(out.name)


def cpu_seconds(pid):
    """User and system time of a process and all its threads so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK
