#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`splitring upgrade` under a verifying load: another program serves, and the guest sees no error."""
import os
import shutil
import signal
from unittest import mock

import harness
from harness import Machine, equal, main, wait
from load import finish, load, requests, worker

UPGRADES = int(os.environ.get("SR_UPGRADES", "20"))
SIZE = 8 << 20
SPLITRINGD = harness.SPLITRINGD


def install(m):
    """Puts a new file at the daemon's path, as a package does; its path."""
    path = m.path("splitringd")
    shutil.copy(SPLITRINGD, path + ".new")
    os.rename(path + ".new", path)
    return path


def serving(m):
    """A machine with a daemon that can be replaced, serving a disk and a NIC."""
    with mock.patch.object(harness, "SPLITRINGD", install(m)):
        m.start_daemon()
    load(m, "g", f"{m.image(size=SIZE)},raw,xvda,w")
    m.good("network-attach", "g", "bridge=b")


def program(pid):
    """The file that it runs: a deleted one too."""
    return os.stat(f"/proc/{pid}/exe").st_ino


def test_upgrades():
    """a guest writes and verifies while the program is replaced again and again"""
    with Machine() as m:
        serving(m)
        supervisor = m.daemon.pid
        for _ in range(UPGRADES):
            old, before = worker(m), requests(m)
            path = install(m)
            assert "splitringd " in m.good("upgrade")
            new = wait("the pid file", lambda: worker(m, old))
            equal((program(new), program(supervisor)), (os.stat(path).st_ino,) * 2)
            wait("I/O", lambda: requests(m) != before)
        finish(m, "g")
        assert "ended by signal" not in m.log(), m.log()
        equal(m.daemon.poll(), None)
        equal(m.stop_daemon(), 0)
        equal(os.path.exists(m.path("pid")), False)


def test_refused():
    """a program that would not start is refused, with its reason, and nothing changes"""
    with Machine() as m:
        serving(m)
        pid = worker(m)
        with open(m.path("splitringd.new"), "w", encoding="ascii") as file:
            file.write("#!/bin/sh\necho no such luck >&2\nexit 1\n")
        os.chmod(m.path("splitringd.new"), 0o755)
        os.rename(m.path("splitringd.new"), m.path("splitringd"))
        status, _, err = m.splitring("upgrade")
        equal((status, err), (1, f"splitring: splitringd: {m.path('splitringd')} would not start: no such luck\n"))
        os.unlink(m.path("splitringd"))
        status, _, err = m.splitring("upgrade")
        equal(status, 1)
        assert "can't run it" in err and err.count("\n") == 1, err
        equal(worker(m), pid)
        # It is there when it is tried, and not any more when it is needed.
        os.kill(m.daemon.pid, signal.SIGUSR2)
        worker(m, pid)
        wait("the reason", lambda: "going on as before" in m.log())
        finish(m, "g")
        equal(m.stop_daemon(), 0)


def test_alone():
    """without a supervisor there is nobody to do it; without a daemon nothing to do it to"""
    with Machine() as m:
        status, _, err = m.splitring("upgrade")
        assert status == 1 and err.count("\n") == 1, err
        m.start_daemon("--no-supervisor")
        status, _, err = m.splitring("upgrade")
        assert status == 1 and "no supervisor" in err and err.count("\n") == 1, err
        equal(m.splitring("upgrade", "now")[0], 2)
        # Nobody would go on with what it leaves.
        os.kill(m.daemon.pid, signal.SIGUSR2)
        wait("its word", lambda: "not upgraded" in m.log())
        equal(m.info()["pid"], m.daemon.pid)


def test_locked():
    """at no moment of it a second daemon may start"""
    with Machine() as m:
        serving(m)
        for _ in range(5):
            install(m)
            pid = worker(m)
            os.kill(m.daemon.pid, signal.SIGUSR2)
            status, _, err = harness.run(SPLITRINGD, "--hypervisor", m.address(), env=m.env)
            assert status == 1 and "serves domain 0 of it already" in err, err
            worker(m, pid)
        finish(m, "g")


if __name__ == "__main__":
    main([test_upgrades, test_refused, test_alone, test_locked])
