"""What the tests of unmodified Xen programs over the drop-in libraries share."""
import os
import sys

sys.path.insert(0, os.path.join(os.environ["SR_SOURCE"], "tests/e2e/tools"))
from harness import BUILD, Skip  # pylint: disable=wrong-import-position

# meson puts the libraries in every program's way; here they are for the unmodified ones.
os.environ.pop("LD_LIBRARY_PATH", None)


def need(program, package):
    if not os.path.exists(program):
        raise Skip(f"{package} is not installed")
    if os.environ.get("SR_PRELOAD") == "none":
        raise Skip("this sanitizer cannot be loaded into an unmodified program")


def domain_env(machine, domid):
    """What makes an unmodified program speak for a domain."""
    env = dict(machine.env, LD_LIBRARY_PATH=f"{BUILD}/hypervisor/dropin",
               SPLITRING_HYPERVISOR=f"embedded:{machine.dir}#{domid}",
               XENSTORED_PATH=f"{machine.dir}/xenstored-{domid}")
    # libxenvchan of Xen 4.17 leaves its flag `blocking` as malloc() gave it, and the proxy hangs
    # if that is set: 255 has malloc() give zeroes.
    env["MALLOC_PERTURB_"] = "255"
    # A sanitizer's runtime has to come before the program's own libraries. What the program leaks
    # is none of ours.
    if os.environ.get("SR_PRELOAD"):
        env["LD_PRELOAD"] = os.environ["SR_PRELOAD"]
        env["ASAN_OPTIONS"] = (env.get("ASAN_OPTIONS", "") +
                               ":detect_leaks=0:malloc_fill_byte=0:max_malloc_fill_size=65536")
    return env
