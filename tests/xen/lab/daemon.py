"""splitringd in dom0."""
import os

LOG, PIDFILE = "/var/log/splitringd.log", "/run/splitringd.pid"


class Daemon:
    """Runs from here to stop(). `options` are more of its command line."""

    def __init__(self, host, options=""):
        self.host, self.options = host, options
        self.job = None
        self.start()

    def start(self):
        self.job = self.host.start(f"exec splitringd --log {LOG} --pidfile {PIDFILE} {self.options}")
        self.host.wait_for("splitringd", f"test -s {PIDFILE}")

    def pid(self):
        """The worker's."""
        return int(self.host.good(f"head -1 {PIDFILE}"))

    def second(self, timeout=30):
        """Starts another one beside it, which should not stay: the job, once it has ended."""
        return self.host.run("splitringd --log /dev/stderr", timeout)

    def kill_worker(self, signal=9):
        """As a crash would; comes back when another worker serves."""
        self.host.good(f"old=$(head -1 {PIDFILE}); kill -{signal} $old; for i in $(seq 200); do "
                       f"new=$(head -1 {PIDFILE}); [ $new != $old ] && exit 0; sleep 0.1; done; exit 1")

    def log(self):
        return self.host.good(f"cat {LOG}")

    def save_log(self):
        with open(os.path.join(self.host.folder, "splitringd.log"), "w", encoding="utf-8") as file:
            file.write(self.log())

    def stop(self):
        """As an operator does; its exit status."""
        self.job.kill(15)
        status = self.job.wait(30).status
        self.save_log()
        return status


def leftovers(host):
    """What guests that are gone have left: nodes, zombies, grants. Empty if all is well."""
    kinds = ("vbd", "qdisk", "vif")
    host.wait_for("the devices to go", "! xenstore-ls -f /local/domain/0/backend 2>/dev/null | "
                  f"grep -E '/backend/({'|'.join(kinds)})/.*frontend'")
    found = [line for kind in kinds for line in host.nodes(f"/local/domain/0/backend/{kind}")]
    found += host.good("xl list | tail -n +3").splitlines()
    host.good("xl dmesg -c >/dev/null; xl debug-keys g")
    return found + [line for line in host.good("xl dmesg").splitlines() if "[0x" in line]
