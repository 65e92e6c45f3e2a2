#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`./dev bench net` with runs of a second: what it prints and writes has its shape. No figure is judged."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

BUILD, SOURCE = os.environ["SR_BUILD"], os.environ["SR_SOURCE"]
sys.path[:0] = [f"{SOURCE}/tests/e2e/tools", f"{SOURCE}/bench"]
from harness import Skip, equal, main  # noqa: E402
from lib import nics, testpmd, traffic  # noqa: E402


def bench(*options, needs=()):
    """What net.json holds after a round of a second; what was printed; names of the plots."""
    if os.geteuid() or os.cpu_count() < 2:
        raise Skip("needs root and two cores")
    for tool in (*needs, "gnuplot"):
        if not shutil.which(tool):
            raise Skip(f"no {tool} here")
    with tempfile.TemporaryDirectory(prefix="splitring-bench-") as out:
        done = subprocess.run([f"{SOURCE}/bench/net", "--build", BUILD, "--out", out, "--logs", f"{out}/logs",
                               "--rounds", "1", "--runtime", "1", *options],
                              capture_output=True, text=True, timeout=150, check=False)
        equal((done.returncode, done.stderr), (0, ""))
        with open(f"{out}/net.md", encoding="utf-8") as file:
            assert "| --- |" in file.read()
        with open(f"{out}/net.json", encoding="utf-8") as file:
            return json.load(file), done.stdout, [name for name in os.listdir(out) if name.endswith(".svg")]


def test_packets():
    """testpmd over a vif and over vhost, a mix of sizes, the guest sends"""
    try:
        with testpmd.Hugepages():
            pass
    except (testpmd.Failed, OSError) as why:
        raise Skip(str(why)) from why
    report, text, _ = bench("--part", "packets", "--size", "imix", "--direction", "send", "--only", "mapped",
                            "--only", "packed", needs=["dpdk-testpmd"])
    found = report["workloads"]["imix-send"]
    equal(sorted(found["results"]), ["splitring mapped", "vhost packed"])
    for label, result in found["results"].items():
        assert result["mpps"] > 0 and result["sent"] > 0 and label in text, (label, result)
    assert found["rounds"][0]["line_round_trip_ns"] > 0, found
    assert report["ratios"]["imix-send"]["splitring mapped"]["ratio"] > 0, report["ratios"]


def stacks():
    lacking = nics.lacking()
    if lacking:
        raise Skip(lacking)


def test_iperf():
    """iperf3 between guests, over a relay and over a bridge"""
    stacks()
    report, text, plots = bench("--part", "iperf", "--congestion", "reno", needs=["iperf3", "ping"])
    equal(report["iperf"]["congestion"], "reno")
    assert "reno congestion control" in text, text
    equal(sorted(report["iperf"]["workloads"]), sorted(traffic.IPERF))
    for name, found in report["iperf"]["workloads"].items():
        assert found["ratio"] > 0 and f"net-iperf-{name}.svg" in plots and name in text, (name, found)
        assert found["splitring adaptive"]["backend_cpu_s_per_gb"] is not None, found
        assert found["relay_ratio"] > 0, found
        for label in "two TAPs, a relay", "veth + bridge":
            assert found[label]["gbit_s"] > 0 and found[label]["cpu_s_per_gb"] > 0, found


def test_latency():
    """round trips in each mode of splitringd, over a relay and over a bridge"""
    stacks()
    report, text, plots = bench("--part", "latency", needs=["sockperf", "iperf3", "ping"])
    equal(sorted(report["latency"]["medians"]),
          ["splitring adaptive", "splitring interrupt", "splitring poll", "two TAPs, a relay", "veth + bridge"])
    for label, found in report["latency"]["medians"].items():
        equal(sorted(found), sorted(traffic.LOADS))
        assert all(0 < f["p50_us"] <= f["p99_us"] for f in found.values()) and label in text, (label, found)
    equal(sorted(plots), sorted(f"net-latency-{load}.svg" for load in traffic.LOADS))


def test_vifs():
    """packets between 2 and 16 vifs: what was sent arrives, at every one of them"""
    report, text, plots = bench("--part", "vifs", "--vifs", "2", "--vifs", "16")
    equal(sorted(report["vifs"]["medians"]), ["16", "2"])
    for found in report["vifs"]["medians"].values():
        assert 0 < found["fewest_mpps"] <= found["most_mpps"], found
    assert "the switch" in text and plots == ["net-vifs.svg"], (text, plots)


main([test_packets, test_iperf, test_latency, test_vifs])
