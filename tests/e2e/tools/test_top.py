#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`splitring top`: in lines, as JSON, and on a terminal."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import harness
from harness import Machine, Skip, equal, main, wait
from load import finish, load, worker


def serving(m):
    m.start_daemon()
    load(m, "g", f"{m.image(size=8 << 20)},raw,xvda,w")
    m.good("network-attach", "g", "bridge=b")
    wait("the NIC", lambda: m.json("network-list"))


class Screen:
    """`splitring top` on a terminal of that many lines and columns."""

    def __init__(self, m, lines=24, columns=120, term="xterm"):
        try:
            self.master, slave = pty.openpty()
        except OSError as error:
            raise Skip(f"no pseudo terminal here: {error}") from error
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen([harness.SPLITRING, "top", "--delay", "0.2"], stdin=slave, stdout=slave,
                                        stderr=slave, env={**m.env, "TERM": term}, start_new_session=True)
        os.close(slave)

    def read(self, seconds=0.7):
        """What is drawn in that time, without what moves the cursor."""
        data, end = b"", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    data += os.read(self.master, 65536)
                except OSError:  # it has ended
                    break
        return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>78])", " ", data.decode(errors="replace"))

    def await_text(self, text):
        seen = ""

        def look():
            nonlocal seen
            seen += self.read(0.3)
            return text in seen
        try:
            wait(text, look)
        except AssertionError:
            raise AssertionError(f"no {text!r} in {seen[-2000:]!r}") from None

    def press(self, key):
        os.write(self.master, key.encode())

    def end(self):
        return self.process.wait(10)

    def hang_up(self):
        os.close(self.master)
        self.master = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        if self.master >= 0:
            os.close(self.master)


def test_lines():
    """--batch: a summary, a heading, a line a device; its rates are those of the time between"""
    with Machine() as m:
        serving(m)
        out = m.good("top", "-b", "-n", "2", "-d", "0.5")
        parts = out.strip().split("\n\n")
        equal(len(parts), 2)
        for part in parts:
            summary, heading, nic, disk = part.splitlines()
            assert re.match(rf"splitringd {worker(m)}: 2 devices, [1-9]\d* operations/s, ", summary), summary
            equal(heading.split()[:4], ["DOMAIN", "DEVICE", "STATE", "OPS/S"])
            equal((nic.split()[1:3], disk.split()[1:3]), (["vif0", "init-wait"], ["xvda", "connected"]))
            assert max(map(len, part.splitlines())) < 128
        finish(m, "g")


def test_json():
    """--json: a line a sample, and what is counted agrees with block-list"""
    with Machine() as m:
        serving(m)
        first, second = (json.loads(line) for line in m.good("top", "--json", "-n", "2", "-d", "0.5").splitlines())
        for sample in first, second:
            disk, = (d for d in sample["devices"] if d["device"] == "xvda")
            assert sample["answers"] and sample["cpu"] > 0, sample
            assert disk["operations_s"] > 0 and disk["in_mb_s"] > 0 and disk["out_mb_s"] > 0, disk
            assert 0 < disk["p50_us"] <= disk["p99_us"], disk
        (a,), (b,) = ([d["operations"] for d in s["devices"] if d["device"] == "xvda"] for s in (first, second))
        assert a < b <= m.json("block-list")[0]["requests"], (a, b)
        finish(m, "g")


def test_restart():
    """a daemon that dies, ends and comes back: no row, no rate of nonsense, no error"""
    with Machine() as m:
        serving(m)
        top = subprocess.Popen([harness.SPLITRING, "top", "--json", "-d", "0.1"], env=m.env, stdout=subprocess.PIPE,
                               text=True)
        json.loads(top.stdout.readline())
        os.kill(worker(m), signal.SIGKILL)
        samples = [json.loads(top.stdout.readline()) for _ in range(20)]
        assert len({s["pid"] for s in samples if s["answers"]}) > 0, samples
        for sample in samples:
            for device in sample["devices"]:
                assert 0 <= device["operations_s"] < 1e8, device
        finish(m, "g")
        m.stop_daemon()
        wait("a sample of nobody", lambda: not json.loads(top.stdout.readline())["answers"])
        top.stdout.close()
        top.wait(10)


def test_screen():
    """on a terminal: the rows, help and order by keys, quit; a tiny terminal; one that can't be drawn on"""
    with Machine() as m:
        serving(m)
        with Screen(m) as screen:
            screen.await_text("xvda")
            screen.press("h")
            screen.await_text("this help")
            screen.press("e\x0c")  # and all is drawn again: else only what differs
            screen.await_text("by errors;")
            screen.press("+\x0c")
            screen.await_text("every 0.1 s")
            screen.press("+\x0c")
            screen.await_text("every 0.1 s")
            screen.press("q")
            equal(screen.end(), 0)
        with Screen(m, 2, 20) as tiny:
            tiny.await_text("splitringd")
            tiny.press("q")
            equal(tiny.end(), 0)
        with Screen(m, term="nothing-of-this-name") as dumb:
            equal((dumb.end(), "top --batch" in dumb.read(0.3)), (1, True))
        finish(m, "g")


def test_hung_up():
    """a terminal that goes away ends it; a disk that is full is said, with status 1"""
    with Machine() as m:
        with Screen(m) as screen:
            screen.await_text("no splitringd")
            screen.hang_up()
            screen.end()
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([harness.SPLITRING, "top", "-b", "-n", "1", "-d", "0.1"], env=m.env, stdout=full,
                                  stderr=subprocess.PIPE, text=True, check=False)
        equal((done.returncode, "No space left" in done.stderr), (1, True))


def test_refused():
    """bad options, and no terminal"""
    with Machine() as m:
        for arguments, why in ((["-d", "0"], "--delay 0: "), (["--delay", "1x"], "--delay 1x: "),
                               (["-n", "0"], "--iterations 0: "), (["-n", "-1"], "--iterations -1: "),
                               ([], "no terminal here"), (["x"], "too many arguments")):
            status, out, err = m.splitring("top", *arguments)
            equal((status, out), (2, ""))
            assert why in err, err
        out = m.good("top", "-b", "-n", "1", "-d", "0.1")
        assert out.startswith("no splitringd answers\n"), out


if __name__ == "__main__":
    main([test_lines, test_json, test_restart, test_screen, test_hung_up, test_refused])
