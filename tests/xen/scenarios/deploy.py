"""All of a driver domain of the image: a Debian's boot through it, and the toolstack's whole life against it."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import deploy_boot  # noqa: E402
import deploy_life  # noqa: E402


def run(lab):
    for part in (deploy_boot, deploy_life):
        part.run(lab)
