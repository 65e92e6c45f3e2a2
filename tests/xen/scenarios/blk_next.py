"""The same as blk on the next release of Debian: another Xen, another kernel, in dom0 and in guests."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import blk  # noqa: E402


def run(lab):
    blk.run(lab, "trixie", kills=5)
