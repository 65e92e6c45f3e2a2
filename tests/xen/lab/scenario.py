"""What a scenario is given: a host when it wants one, and checks that are counted."""
import collections
import contextlib
import glob
import os
import shutil
import time
import traceback

from .host import Host
from .image import images
from .profile import PLUGIN, Profile
from .release import Release
from .say import Failed, say

TAIL = 25


class Skipped(Exception):
    """A check, or a scenario, can't be done here; the message says why."""


class Lab:
    """`name` is the scenario's; its logs go to `out`/xen/`name`. `profile`: see profile.py."""

    def __init__(self, name, build, cache, out, profile=False):
        self.name, self.build, self.cache, self.profile = name, build, cache, profile
        self.folder = self.logs = os.path.join(os.path.abspath(out), name)
        self.host = None
        self.boots = 0
        self.count = collections.Counter()
        self.number = 0
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)

    def release(self, name="bookworm"):
        return Release(name, self.cache)

    def boot(self, release="bookworm", testpmd=False, **options):
        """Boots a host, and ends the one before. See Host for the options; testpmd: with DPDK's in all images."""
        self.end()
        release = self.release(release)
        made = images(release, self.build, testpmd)
        say(f"booting Xen {release.xen} and Linux {release.kernel_version()}")
        self.boots += 1
        if self.boots > 1:
            self.logs = os.path.join(self.folder, f"boot-{self.boots}")
            os.makedirs(self.logs)
        socket = os.path.join(self.logs, "profile.sock")
        if self.profile:
            plugin = ["-plugin", f"file={self.build}/{PLUGIN},socket={socket}"]
            options = {**options, "more": [*options.get("more", []), *plugin]}
        self.host = Host(made, self.logs, options)
        if self.profile:
            self.host.profile = Profile(self.host, socket, release, self.build)
        self.host.wait_up()
        return self.host

    def end(self):
        if self.host:
            self.host.close()
        self.host = None

    @contextlib.contextmanager
    def check(self, what):
        """`with lab.check("what holds"):` one line of TAP; whatever goes wrong inside is 'not ok'."""
        started = time.monotonic()
        self.number += 1
        try:
            yield
        except Skipped as why:
            self.count["skipped"] += 1
            print(f"ok {self.number} - {what} # SKIP {why}", flush=True)
        except Exception as why:  # pylint: disable=broad-except
            self.count["failed"] += 1
            print(f"not ok {self.number} - {what}", flush=True)
            text = str(why) if isinstance(why, Failed) else "".join(traceback.format_exception(why)[-3:])
            for line in text.splitlines():
                print(f"#   {line}")
            self.tails()
        else:
            self.count["passed"] += 1
            print(f"ok {self.number} - {what} ({time.monotonic() - started:.1f} s)", flush=True)

    def tails(self):
        """The ends of the logs, as comments."""
        if self.host and not self.host.channel.dead:
            with contextlib.suppress(Failed):
                text = self.host.run("tail -n 200 /var/log/splitringd.log 2>/dev/null", 10).output
                with open(os.path.join(self.logs, "splitringd.log"), "w", encoding="utf-8") as file:
                    file.write(text)
        for path in sorted(glob.glob(f"{self.logs}/*.log")):
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = [line.rstrip() for line in file.readlines() if "doesn't support requested" not in line]
            lines = lines[-TAIL:]
            if lines:
                print(f"#   --- the end of {os.path.relpath(path)}")
                for line in lines:
                    print(f"#   {line[:200]}")
        print(end="", flush=True)

    def finish(self):
        """The plan and the count; the status for the shell."""
        self.end()
        print(f"1..{self.number}")
        count = self.count
        print(f"# {self.name}: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped; "
              f"logs in {os.path.relpath(self.folder)}", flush=True)
        return 1 if count["failed"] or not count["passed"] + count["skipped"] else 0


def equal(found, wanted, what=""):
    """As an assertion that says what it saw."""
    if found != wanted:
        raise Failed(f"{what + ': ' if what else ''}found {found!r}, wanted {wanted!r}")
