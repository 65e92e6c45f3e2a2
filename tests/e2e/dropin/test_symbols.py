#!/usr/bin/env python3
"""The drop-in libraries are what the loader takes for Xen's own: soname, symbols, versions."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["SR_SOURCE"], "tests/e2e/tools"))
from harness import BUILD, Skip, equal, main  # pylint: disable=wrong-import-position


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def system_library(name):
    found = re.search(rf"{re.escape(name)} .*x86-64.* => (\S+)", output("/sbin/ldconfig", "-p"))
    if not found:
        raise Skip(f"{name} is not installed")
    return found[1]


def exported(path):
    """{(symbol, version, is it a function or an object)}"""
    lines = (line.split() for line in output("objdump", "-T", path).splitlines())
    return {(line[6], line[5], line[2]) for line in lines
            if len(line) == 7 and line[1] == "g" and line[3] != "*UND*"}


def soname(path):
    return re.search(r"SONAME.*\[(.*)\]", output("readelf", "-d", path))[1]


def parents(path):
    """Each version with the one it builds on."""
    got = re.findall(r"Rev: 1  Flags: none .* Name: (\S+)(?:\n.*Parent 1: (\S+))?",
                     output("readelf", "-V", path))
    return set(got)


def same(name):
    def test():
        ours, theirs = f"{BUILD}/hypervisor/dropin/{name}", system_library(name)
        equal(soname(ours), soname(theirs))
        equal(exported(ours), exported(theirs))
        equal(parents(ours), parents(theirs))
        assert len(exported(ours)) > 5, "objdump's output is not understood"

    test.__doc__ = f"{name} exports what Debian's does"
    return test


main([same(f"{name}.so.1") for name in
      ("libxengnttab", "libxenevtchn", "libxencall", "libxenforeignmemory", "libxendevicemodel")])
