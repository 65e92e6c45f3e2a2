#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`./dev bench upgrade`, as short as it goes. No figure is judged."""
import json
import os
import sys
import tempfile

BUILD, SOURCE = os.environ["SR_BUILD"], os.environ["SR_SOURCE"]
sys.path.insert(0, f"{SOURCE}/tests/e2e/tools")
from harness import Skip, equal, main, run  # noqa: E402


def test_short():
    """two upgrades and two kills: a pause each, and the guest saw no error"""
    if os.cpu_count() < 2:
        raise Skip("needs two cores")
    with tempfile.TemporaryDirectory(prefix="splitring-test-") as work:
        status, out, err = run(f"{SOURCE}/bench/upgrade", "--build", BUILD, "--out", work, "--count", "2", timeout=150)
        equal((status, err), (0, ""))
        with open(f"{work}/upgrade.json", encoding="utf-8") as file:
            found = json.load(file)
        equal(list(found), ["upgrade", "kill -9"])
        for way, result in found.items():
            equal(len(result["pauses_ms"]), 2)
            assert min(result["pauses_ms"]) > 0, result
            assert f"  {way}" in out, out


main([test_short])
