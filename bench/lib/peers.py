"""Who is measured: each contender runs one workload at a time and gives its figures."""
import os
import subprocess
import time

from . import fio


class Contender:
    """`label` names it in tables; `group` says with whom it is compared."""

    def __init__(self, label, group):
        self.label, self.group = label, group

    def run(self, workload, runtime):
        raise NotImplementedError


class Native(Contender):
    """fio on the file or device itself: generator and kernel share one core."""

    def __init__(self, label, group, engine, path, size, cpu, direct=False, extra=()):
        super().__init__(label, group)
        self.engine, self.path, self.size, self.cpu = engine, path, size, cpu
        self.extra = [*extra, *(["--direct=1"] if direct else [])]

    def run(self, workload, runtime):
        extra = [*self.extra, *([f"--filename={self.path}"] if self.path else [])]
        return fio.run(fio.arguments(workload, self.engine, self.cpu, runtime, self.size, extra))


class Ours(Contender):
    """A guest's vbd that splitringd serves with one of its drivers."""

    def __init__(self, label, group, machine, target, size, cpu, options=()):
        super().__init__(label, group)
        self.machine, self.target, self.size, self.cpu = machine, target, size, cpu
        self.options = options

    def run(self, workload, runtime):
        args = fio.arguments(workload, "splitring", self.cpu, runtime, self.size, self.options)
        return self.machine.run_guest(self.target, args)


class Nbd(Contender):
    """A server on a unix socket, driven by fio's nbd engine."""

    def __init__(self, label, group, command, socket, size, cpu, server_cpu):
        super().__init__(label, group)
        self.command = ["taskset", "-c", str(server_cpu), *command]
        self.socket, self.size, self.cpu = socket, size, cpu

    def run(self, workload, runtime):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        with subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as server:
            try:
                self.wait_for_socket(server)
                return self.measure(workload, runtime, server.pid)
            finally:
                server.terminate()

    def wait_for_socket(self, server):
        deadline = time.monotonic() + 10
        while not os.path.exists(self.socket):
            if server.poll() is not None or time.monotonic() > deadline:
                raise fio.Failed(f"{self.label} did not start: {server.stderr.read()[-300:]}")
            time.sleep(0.02)

    def measure(self, workload, runtime, pid):
        before = fio.cpu_seconds(pid)
        result = fio.run(fio.arguments(workload, "nbd", self.cpu, runtime, self.size,
                                       [f"--uri=nbd+unix:///?socket={self.socket}"]))
        # The ramp's requests are in the processor time and not in total_ios: scale by time.
        share = runtime / (runtime + 0.3)
        result["cpu_us_per_io"] = (fio.cpu_seconds(pid) - before) * share * 1e6 / result["total_ios"]
        return result


def nbdkit(group, path, socket, size, cpu, server_cpu):
    return Nbd("nbdkit file", group, ["nbdkit", "-f", "-U", socket, "file", path], socket, size,
               cpu, server_cpu)


def qemu_storage_daemon(group, path, socket, size, cpu, server_cpu):
    return Nbd("qemu-storage-daemon io_uring", group,
               ["qemu-storage-daemon", "--blockdev",
                f"driver=file,node-name=disk,filename={path},aio=io_uring", "--nbd-server",
                f"addr.type=unix,addr.path={socket}", "--export",
                "type=nbd,id=disk,node-name=disk,name=,writable=on"],
               socket, size, cpu, server_cpu)
