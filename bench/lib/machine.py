"""An embedded machine with or without splitringd on it, and guests whose program is fio."""
import json
import os
import signal
import subprocess
import tempfile
import time

from . import fio


class Machine:
    """`with Machine(build, cpu) as machine:` starts both and leaves nothing behind."""

    def __init__(self, build, backend_cpu, mode="adaptive", serve=True):
        """
        backend_cpu: where the queue thread and the one that moves packets run, None: anywhere. serve: with a
        splitringd.
        """
        self.build = os.path.abspath(build)
        self.name = f"bench-{os.getpid()}"
        self.backend_cpu = backend_cpu
        self.mode = mode
        self.serve = serve
        self.work = tempfile.TemporaryDirectory(prefix="splitring-bench-")
        self.daemon = None

    def path(self, name):
        return os.path.join(self.work.name, name)

    def splitring(self, *args, check=True, timeout=60):
        """Runs the operator's command on this machine; gives what it prints."""
        command = [f"{self.build}/tools/splitring", "-m", self.name, *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if check and done.returncode:
            raise fio.Failed(done.stderr.strip() or f"splitring {args[0]} failed")
        return done.stdout

    def json(self, *args):
        """What a command tells with --json."""
        return json.loads(self.splitring(*args, "--json"))

    def __enter__(self):
        self.splitring("machine", "start", self.name)
        try:
            if self.serve:
                self.start_daemon()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_daemon(self):
        pin = [] if self.backend_cpu is None else ["--cpus", str(self.backend_cpu), "--net-cpus", str(self.backend_cpu)]
        self.daemon = subprocess.Popen(
            [f"{self.build}/tools/splitringd", "--hypervisor", self.address(),
             "--threads", "1", "--mode", self.mode, *pin,
             "--pidfile", self.path("splitringd.pid"), "--log", self.path("splitringd.log")],
            stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not (os.path.exists(self.path("splitringd.pid")) and self.info()):
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                with open(self.path("splitringd.log"), encoding="utf-8") as log:
                    raise fio.Failed(f"splitringd did not start: {log.read()[-400:]}")
            time.sleep(0.02)

    def info(self, part="daemon"):
        """The daemon's totals, or None while it does not answer."""
        text = self.splitring("info", "--json", check=False)
        return (json.loads(text) if text.strip() else {}).get(part)

    def machine_info(self):
        return self.info("machine")

    def directory(self):
        """As the programs find it by the machine's name."""
        base = os.environ.get("SPLITRING_RUN")
        if not base and os.geteuid() == 0:
            base = "/run/splitring"
        elif not base and os.environ.get("XDG_RUNTIME_DIR"):
            base = f"{os.environ['XDG_RUNTIME_DIR']}/splitring"
        return f"{base or f'/tmp/splitring-{os.geteuid()}'}/{self.name}"

    def xenstore(self, tool, *args):
        """What a stock xenstore-read, -write, ... prints; None where it fails."""
        done = subprocess.run([f"xenstore-{tool}", *args], capture_output=True, text=True, check=False,
                              env={**os.environ, "XENSTORED_PATH": f"{self.directory()}/xenstored"})
        return None if done.returncode else done.stdout.strip()

    def address(self):
        return f"embedded:{self.directory()}"

    def worker(self):
        """The process that does the I/O."""
        with open(self.path("splitringd.pid"), encoding="ascii") as file:
            return int(file.readline())

    def __exit__(self, *_):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            try:
                self.daemon.wait(20)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        self.splitring("machine", "stop", self.name, check=False)
        self.work.cleanup()

    def run_guest(self, target, args, timeout=120, filename="xvda"):
        """
        Creates a guest with one disk, xvda, and fio as its program, waits for its end, and gives fio's
        figures with what they cost the backend: cpu_us_per_io, notifications_per_1000.
        """
        name, out = "bench", self.path("fio.json")
        if os.path.exists(out):
            os.unlink(out)
        engine = f"external:{self.build}/frontends/blk/fio/libsplitring-fio.so"
        words = [f"--ioengine={engine}" if a == "--ioengine=splitring" else a for a in args]
        config = self.path("guest.cfg")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'name = "{name}"\nmemory = 512\nkernel = "{fio.FIO}"\n'
                       f'extra = "{" ".join(words)} --filename={filename} --output={out}"\n'
                       f'disk = [ "format=raw,vdev=xvda,access=rw,target={target}" ]\n')
        before, cpu = self.info(), fio.cpu_seconds(self.worker())
        try:
            # -c follows the guest's console until the guest ends.
            self.splitring("create", "-c", config, timeout=timeout)
        except subprocess.TimeoutExpired as late:
            self.splitring("destroy", name, check=False)
            raise fio.Failed(f"the guest did not end within {timeout} s") from late
        except fio.Failed as failure:
            raise fio.Failed(f"{failure}; its console: {self.console()}") from failure
        cpu, after = fio.cpu_seconds(self.worker()) - cpu, self.info()
        if not os.path.exists(out):
            raise fio.Failed(f"the guest's fio wrote no result; its console: {self.console()}")
        result = fio.read_result(out)
        requests = after["requests"] - before["requests"]
        if requests <= 0:
            raise fio.Failed("splitringd counted no request: the figures would not be its own")
        notifications = (after["notifications_sent"] + after["notifications_received"] -
                         before["notifications_sent"] - before["notifications_received"])
        result["cpu_us_per_io"] = cpu * 1e6 / requests
        result["notifications_per_1000"] = notifications * 1000 / requests
        return result

    def console(self):
        """The end of what the last guest printed."""
        try:
            with open(self.path("console"), encoding="utf-8") as file:
                return file.read().strip()[-600:] or "empty"
        except FileNotFoundError:
            return "none"
