"""iperf3 and sockperf between the two ends of a stack."""
import json
import os
import re
import subprocess
import time

from .fio import Failed
from .stacks import ENDS, Server

# What iperf3's client is told, from end a to end b; -R: b sends.
IPERF = {
    "tcp": [],
    "tcp-reverse": ["-R"],
    "tcp-4": ["-P", "4"],
    "tcp-4-reverse": ["-P", "4", "-R"],
    "udp": ["-u", "-b", "0", "-l", "1400"],
}
IPERF_PORT, SOCKPERF_PORT = "5201", "11111"
BYTES = "64"
LOADS = {"idle": None, "sparse": None, "loaded": "1G"}
SPARSE_PER_S = "200"
START_S = 10
ATTEMPTS = 3


def busy_seconds():
    """CPU time of all cores that was not idle."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def congestion():
    """TCP's congestion control where nobody says another."""
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
        return file.read().strip()


def run(command, seconds):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds + START_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"no end within {seconds + START_S} s: {' '.join(command)}") from late


def listening(stack, client, seconds):
    """What the client prints; while the server isn't there yet it fails at once, and is tried again."""
    limit = time.monotonic() + START_S
    while True:
        done = run(client, seconds)
        if not done.returncode:
            return done.stdout
        if time.monotonic() > limit:
            raise Failed(f"{stack.label}: {' '.join(client)}: {(done.stderr or done.stdout).strip()[-300:]}")
        time.sleep(0.1)


def iperf_once(stack, workload, seconds):
    """What iperf3 says at the end, CPU seconds of the machine meanwhile, and of the backend. None and why."""
    words = ["iperf3", "-J", "-c", ENDS["b"], "-p", IPERF_PORT, "-t", str(seconds), *IPERF[workload]]
    busy, backend = busy_seconds(), stack.backend_cpu()
    done = run(stack.command("a", *words), seconds)
    busy = busy_seconds() - busy
    backend = None if backend is None else stack.backend_cpu() - backend
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return None, done.stderr.strip() or "it printed no JSON"
    side = report.get("end", {}).get("sum" if workload == "udp" else "sum_received")
    if done.returncode or not side or not side["bytes"]:
        return None, report.get("error", "its report has no sum")
    return side, (busy, backend)


def iperf(stack, workload, seconds):
    """Gbit/s of payload that arrived, the machine's CPU seconds a GB of it, and the backend's."""
    with Server(stack, "iperf3", "-s", "-p", IPERF_PORT):
        listening(stack, stack.command("a", "iperf3", "-c", ENDS["b"], "-p", IPERF_PORT, "-n", "1"), 1)
        for _ in range(ATTEMPTS):
            # Where both cores are busy its two ends may lose each other, which it reports.
            side, more = iperf_once(stack, workload, seconds)
            if side:
                break
        else:
            raise Failed(f"{stack.label}: iperf3, {workload}: {more}")
    busy, backend = more
    lost = side["lost_percent"] if workload == "udp" else 0
    arrived = side["bytes"] * (1 - lost / 100)
    if not arrived:
        raise Failed(f"{stack.label}: nothing arrived in {workload}")
    return {"gbit_s": arrived * 8 / side["seconds"] / 1e9, "cpu_s_per_gb": busy / (arrived / 1e9), "lost_percent": lost,
            "backend_cpu_s_per_gb": None if backend is None else backend / (arrived / 1e9)}


def round_trips(stack, load, seconds):
    """Microseconds of a round trip of 64 bytes over UDP: p50 and p99."""
    words = ["-i", ENDS["b"], "-p", SOCKPERF_PORT, "-t", str(seconds), "-m", BYTES, "--full-rtt"]
    client = ["ul", *words, "--mps", SPARSE_PER_S, "--reply-every", "1"] if load == "sparse" else ["pp", *words]
    text = listening(stack, stack.command("a", "sockperf", *client), seconds)
    found = dict(re.findall(r"percentile (\d+\.\d+) =\s+([\d.]+)", text))
    if "50.000" not in found or "99.000" not in found:
        raise Failed(f"{stack.label}: sockperf has no percentiles: {text[-300:]}")
    return {"p50_us": float(found["50.000"]), "p99_us": float(found["99.000"])}


def latency(stack, load, seconds):
    """idle: one request after the other and nothing else; sparse: 200 a second; loaded: beside TCP at 1 Gbit/s."""
    with Server(stack, "sockperf", "sr", "-i", ENDS["b"], "-p", SOCKPERF_PORT):
        if not LOADS[load]:
            return round_trips(stack, load, seconds)
        with Server(stack, "iperf3", "-s", "-p", IPERF_PORT):
            listening(stack, stack.command("a", "iperf3", "-c", ENDS["b"], "-p", IPERF_PORT, "-n", "1"), 1)
            beside = subprocess.Popen(
                stack.command("a", "iperf3", "-c", ENDS["b"], "-p", IPERF_PORT, "-t", "600", "-b", LOADS[load]),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                found = round_trips(stack, load, seconds)
                if beside.poll() is not None:
                    raise Failed(f"{stack.label}: iperf3 has ended beside sockperf")
                return found
            finally:
                beside.terminate()
                beside.wait()
