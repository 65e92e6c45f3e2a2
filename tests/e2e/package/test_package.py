#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The Debian package: made, looked at by lintian, unpacked, and its programs used from there."""
import glob
import os
import re
import subprocess
import sys
import tempfile
from unittest import mock

SOURCE = os.environ["SR_SOURCE"]
sys.path.insert(0, f"{SOURCE}/tests/e2e/tools")
import harness  # noqa: E402
from harness import Skip, equal, main, run, wait  # noqa: E402

# Of 100, as systemd counts. An unprotected daemon has 96.
EXPOSURE = 45
CAP_SYS_ADMIN = 1 << 21
PACKAGE = f"{SOURCE}/out/package/splitring_*.deb"


def good(*command, **more):
    status, out, err = run(*command, timeout=300, **more)
    assert status == 0, f"{' '.join(command)}: {status}: {out}{err}"
    return out


def package():
    found = glob.glob(PACKAGE)
    equal(len(found), 1)
    return found[0]


def unpacked(root):
    good("dpkg-deb", "-x", package(), root)
    return root


def test_made():
    """./dev package makes one, and lintian finds nothing"""
    out = good(f"{SOURCE}/dev", "package", cwd=SOURCE)
    assert os.path.basename(package()) in out, out


def test_depends():
    """it names what its programs open only when they need it"""
    fields = good("dpkg-deb", "-f", package(), "Depends", "Recommends")
    # Without the first DPDK has no packet buffers; xl's NICs want the second.
    for name in "librte-mempool-ring23", "librte-net-tap23", "xenstore-utils":
        assert name in fields, fields


def test_used():
    """unpacked, its daemon gives a guest a disk and a NIC"""
    with tempfile.TemporaryDirectory(prefix="sr-package-") as root:
        unpacked(root)
        with mock.patch.multiple(harness, SPLITRING=f"{root}/usr/bin/splitring",
                                 SPLITRINGD=f"{root}/usr/sbin/splitringd"), harness.Machine() as m:
            m.start_daemon("--config", f"{root}/etc/splitring/splitringd.conf")
            m.good("create", m.guest("g", disks=["vdev=xvda,access=rw,target=ram:size=1M"], vif='["bridge=b"]'))
            wait("the disk", lambda: [d["state"] for d in m.json("block-list")] == ["init-wait"])
            wait("the NIC", lambda: [d["state"] for d in m.json("network-list")] == ["init-wait"])
            equal(m.stop_daemon(), 0)


def test_unit():
    """systemd has nothing against its unit, and finds it little exposed"""
    if run("sh", "-c", "command -v systemd-analyze")[0]:
        raise Skip("no systemd-analyze here")
    with tempfile.TemporaryDirectory(prefix="sr-package-") as root:
        unit = f"{unpacked(root)}/usr/lib/systemd/system/splitringd.service"
        with open(unit, encoding="utf-8") as file:
            text = file.read().replace("/usr/sbin/splitringd", f"{root}/usr/sbin/splitringd")
        with open(unit, "w", encoding="utf-8") as file:
            file.write(text)
        status, out, err = run("systemd-analyze", "verify", "--man=no", unit)
        equal((status, out + err), (0, ""))
        good("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", unit)


def capabilities(unit):
    with open(unit, encoding="utf-8") as file:
        line, = (line for line in file if line.startswith("CapabilityBoundingSet="))
    return line.split("=")[1].lower().split()


def test_capabilities():
    """with no more than its unit's capabilities the daemon serves a file and a TAP, and has what it asked for"""
    if os.getuid():
        raise Skip("only root has capabilities to give up")
    names = capabilities(f"{SOURCE}/dist/systemd/splitringd.service")
    words = ",".join(["-all"] + [f"+{name.removeprefix('cap_')}" for name in names])
    tap = f"sp{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="sr-package-") as root:
        wrapper = f"{root}/splitringd"
        with open(wrapper, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec setpriv --no-new-privs --bounding-set={words} {harness.SPLITRINGD} "$@"\n')
        os.chmod(wrapper, 0o755)
        try:
            with mock.patch.object(harness, "SPLITRINGD", wrapper), harness.Machine() as m:
                m.start_daemon("--bridge", f"b=tap:{tap}")
                with open(f"/proc/{m.info()['pid']}/status", encoding="ascii") as file:
                    left = int(re.search(r"^CapEff:\s*(\S+)", file.read(), re.M)[1], 16)
                # Fewer where this machine has not all of them to give.
                assert left.bit_count() <= len(names) and not left & CAP_SYS_ADMIN, hex(left)
                image = m.image()
                os.chown(image, 12345, 12345)
                os.chmod(image, 0o600)
                m.good("create", m.guest("g", disks=[f"vdev=xvda,access=rw,target={image}"], vif='["bridge=b"]'))
                wait("the disk", lambda: [d["state"] for d in m.json("block-list")] == ["init-wait"])
                wait("the TAP", lambda: os.path.exists(f"/sys/class/net/{tap}"))
                assert "warning" not in m.log() and "error" not in m.log(), m.log()
        finally:
            subprocess.run(["ip", "link", "delete", tap], check=False, capture_output=True)


def test_completion():
    """the completion knows every command that the help tells of"""
    commands = {line.split()[0] for line in good(harness.SPLITRING, "--help").splitlines()
                if line.startswith("  ") and line[2].islower()}
    with tempfile.TemporaryDirectory(prefix="sr-package-") as root:
        unpacked(root)
        script = f"""
            PATH={root}/usr/bin:$PATH
            _init_completion() {{ cur= prev=splitring words=(splitring "") cword=1; }}
            . {root}/usr/share/bash-completion/completions/splitring
            _splitring && printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        offered = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    equal(sorted(offered), sorted(commands))
    assert "block-attach" in offered, offered


if __name__ == "__main__":
    main([test_made, test_depends, test_used, test_unit, test_capabilities, test_completion])
