"""What the tests of the two programs share: TAP, running them, a machine of one's own."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

BUILD = os.environ["SR_BUILD"]
SOURCE = os.environ["SR_SOURCE"]
SPLITRING = f"{BUILD}/tools/splitring"
SPLITRINGD = f"{BUILD}/tools/splitringd"


class Skip(Exception):
    """The test can't run here; its text says why."""


def run(*command, timeout=60, **more):
    """Runs a command to its end: (exit status, standard output, standard error)."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, check=False, **more)
    return done.returncode, done.stdout, done.stderr


def equal(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def fails(got, status, line):
    """The exit status, and exactly one line of that text on standard error, is what came."""
    equal(got[0], status)
    first, _, rest = got[2].partition("\n")
    equal(first, line)
    assert not rest or (status == 2 and rest.startswith("usage: ")), f"more than a line: {got[2]!r}"
    equal(got[1], "")


def wait(what, condition, seconds=20):
    """Until condition() gives something true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def main(tests):
    """Runs the functions, each named by its docstring; the exit status is for meson."""
    print(f"1..{len(tests)}")
    bad = 0
    for number, test in enumerate(tests, 1):
        name = test.__doc__.strip().splitlines()[0].rstrip(".")
        try:
            test()
            print(f"ok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:  # pylint: disable=broad-except
            bad += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"not ok {number} - {name}", flush=True)
    sys.exit(1 if bad else 0)


class Machine:
    """`with Machine() as m:` a machine in a directory of its own, gone afterwards."""

    def __init__(self, *options):
        self.options = options
        self.temp = tempfile.TemporaryDirectory(prefix="sr-")
        self.name = "m"
        self.dir = f"{self.temp.name}/run/{self.name}"
        self.env = dict(os.environ, SPLITRING_RUN=f"{self.temp.name}/run")
        for key in ("SPLITRING_MACHINE", "SPLITRING_HYPERVISOR", "NOTIFY_SOCKET"):
            self.env.pop(key, None)
        self.daemon = None

    def path(self, name):
        return os.path.join(self.temp.name, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def image(self, name="image", size=1 << 20):
        with open(self.path(name), "wb") as file:
            file.truncate(size)
        return self.path(name)

    def splitring(self, *args):
        return run(SPLITRING, *args, env=self.env)

    def good(self, *args):
        """What a command that has to succeed prints."""
        status, out, err = self.splitring(*args)
        assert status == 0, f"splitring {' '.join(args)}: {status}: {err}"
        equal(err, "")
        return out

    def json(self, *args):
        return json.loads(self.good(*args, "--json"))

    def __enter__(self):
        self.good("machine", "start", self.name, *self.options)
        return self

    def __exit__(self, *_):
        self.stop_daemon()
        self.splitring("machine", "stop", self.name)
        self.temp.cleanup()

    def address(self):
        return f"embedded:{self.dir}"

    def start_daemon(self, *options):
        """A splitringd that answers."""
        log = open(self.path("splitringd.log"), "a", encoding="utf-8")
        with log:
            self.daemon = subprocess.Popen(
                [SPLITRINGD, "--hypervisor", self.address(), "--pidfile", self.path("pid"),
                 *options], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait("splitringd", lambda: self.daemon.poll() is not None or self.info())
        assert self.daemon.poll() is None, f"splitringd did not start: {self.log()}"

    def log(self):
        with open(self.path("splitringd.log"), encoding="utf-8") as file:
            return file.read()

    def info(self):
        return self.json("info")["daemon"]

    def stop_daemon(self):
        """Its exit status, or None where it does not run."""
        if not self.daemon:
            return None
        self.daemon.send_signal(signal.SIGTERM)
        try:
            return self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            os.kill(self.info()["pid"], signal.SIGKILL)
            self.daemon.kill()
            self.daemon.wait()
            raise
        finally:
            self.daemon = None

    def guest(self, name="g", program="/bin/sh", extra="-c 'exec sleep 1000'", disks=(), **more):
        """The path of a guest's configuration."""
        lines = [f'name = "{name}"', 'memory = 16', f'kernel = "{program}"', f'extra = "{extra}"']
        lines += [f"{key} = {value}" for key, value in more.items()]
        if disks:
            lines.append("disk = [ " + ", ".join(f'"{d}"' for d in disks) + " ]")
        return self.write(f"{name}.cfg", "\n".join(lines) + "\n")

    def xenstore(self, tool, *args):
        env = dict(self.env, XENSTORED_PATH=f"{self.dir}/xenstored")
        status, out, _ = run(f"xenstore-{tool}", *args, env=env)
        return out if status == 0 else None

    def domain(self, name):
        return next((d for d in self.json("list") if d["name"] == name), None)


class XenMachine(Machine):
    """
    A machine whose daemon knows only `xen:`, which are the drop-in libraries over it. The name makes its
    directory the one where the tools look for the daemon of a Xen host.
    """

    def __init__(self, *options):
        super().__init__(*options)
        self.name = "xen"
        self.dir = f"{self.temp.name}/run/{self.name}"
        self.xen_env = dict(self.env, SPLITRING_HYPERVISOR=f"embedded:{self.dir}",
                            XENSTORED_PATH=f"{self.dir}/xenstored",
                            LD_LIBRARY_PATH=f"{BUILD}/hypervisor/dropin")

    def address(self):
        return "xen:"

    def start_daemon(self, *options):
        plain, self.env = self.env, self.xen_env
        try:
            super().start_daemon(*options)
        finally:
            self.env = plain
