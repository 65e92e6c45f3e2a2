#!/usr/bin/env python3
"""Debian's QEMU, unmodified, serves an embedded guest's disk as it would on Xen: qdisk."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SR_SOURCE"], "tests/e2e/tools"))
from harness import BUILD, SPLITRING, Machine, equal, main, wait  # pylint: disable=wrong-import-position
from unmodified import domain_env, need  # pylint: disable=wrong-import-position

QEMU = "/usr/libexec/xen-qemu-system-i386"
VERIFY = f"{BUILD}/tools/verify"


def test_qdisk():
    """A guest writes and verifies a disk of QEMU's"""
    need(QEMU, "qemu-system-xen")
    with Machine() as m:
        disk = f"format=raw,vdev=xvda,access=rw,backendtype=qdisk,target={m.image(size=8 << 20)}"
        config = m.guest("g", VERIFY, "-t 2", [disk])
        # It waits for the backend; the guest is the machine's first.
        with subprocess.Popen([SPLITRING, "create", config], env=m.env) as create, \
             open(m.path("qemu.log"), "wb") as log:
            wait("the backend's nodes", lambda: m.xenstore("ls", "/local/domain/0/backend/qdisk/1"))
            with subprocess.Popen(
                    [QEMU, "-xen-domid", "1", "-xen-attach", "-M", "xenpv", "-m", "16",
                     "-display", "none", "-nodefaults", "-no-user-config"], env=domain_env(m, 0),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log) as qemu:
                try:
                    equal(create.wait(60), 0)
                    wait("the guest's end", lambda: not m.domain("g") or qemu.poll() is not None,
                         60)
                finally:
                    qemu.terminate()
        with open(m.path("qemu.log"), encoding="utf-8") as log:
            print("".join(f"# {line}" for line in log), end="")
        did = json.loads(m.good("console", "g").strip().splitlines()[-1])
        print(f"# {did}")
        equal((did["errors"], did["differences"]), (0, 0))
        assert did["reads"] and did["writes"], did
        dom0 = m.domain("Domain-0")
        equal(dom0["event_channels"], 0)


main([test_qdisk])
