#!/usr/bin/env python3
"""splitringd itself: its start, its end, its supervisor, its drivers."""
import os
import re
import signal
import socket

from harness import BUILD, SPLITRINGD, Machine, equal, fails, main, run, wait

HERE = f"{BUILD}/tests/e2e/tools"


def pids(machine):
    with open(machine.path("pid"), encoding="ascii") as file:
        return [int(line) for line in file]


def test_start_and_stop():
    """it serves, names its processes, and SIGTERM ends it with status 0"""
    with Machine() as m:
        m.start_daemon("--threads", "2", "--mode", "interrupt")
        info = m.info()
        equal(pids(m), [info["pid"], info["supervisor"]])
        equal(info["supervisor"], m.daemon.pid)
        equal((info["mode"], info["domid"], info["survives_crash"]), ("interrupt", 0, True))
        assert {"null", "ram", "uring", "aio"} <= {d["name"] for d in info["drivers"]}
        equal(m.stop_daemon(), 0)
        assert not os.path.exists(m.path("pid"))
        assert not os.path.exists(f"{m.dir}/splitringd-0.sock")
        equal(m.info(), None)
        assert re.search(r"answering what is in flight", m.log())


def test_alone():
    """--no-supervisor is one process, and it says that a crash costs the disks"""
    with Machine() as m:
        m.start_daemon("--no-supervisor")
        equal(pids(m), [m.daemon.pid])
        equal((m.info()["supervisor"], m.info()["survives_crash"]), (0, False))
        assert "do not survive" in m.log()
        equal(m.stop_daemon(), 0)


def test_second():
    """a second daemon of a domain is refused by name"""
    with Machine() as m:
        m.start_daemon()
        fails(run(SPLITRINGD, "--hypervisor", m.address(), env=m.env), 1,
              f"splitringd: {m.address()}: splitringd with pid {m.daemon.pid} serves domain 0 of it "
              "already; stop that one first")
        assert m.info()


def test_worker_killed():
    """a killed worker is replaced, and the supervisor stays"""
    with Machine() as m:
        m.start_daemon()
        for _ in range(5):
            worker = m.info()["pid"]
            os.kill(worker, signal.SIGKILL)
            wait("another worker", lambda w=worker: (m.info() or {}).get("pid", w) != w)
        equal(pids(m), [m.info()["pid"], m.daemon.pid])
        equal(m.log().count("ended by signal 9"), 5)
        equal(m.stop_daemon(), 0)


def test_worker_told():
    """a signal to the worker alone ends both"""
    with Machine() as m:
        m.start_daemon()
        os.kill(m.info()["pid"], signal.SIGTERM)
        equal(m.daemon.wait(20), 0)
        m.daemon = None


def test_supervisor_killed():
    """a worker whose supervisor was killed goes on, says so, and still locks others out"""
    with Machine() as m:
        m.start_daemon()
        worker = m.info()["pid"]
        m.daemon.kill()
        m.daemon.wait()
        m.daemon = None
        wait("the warning", lambda: "the supervisor is gone" in m.log())
        equal(m.info()["pid"], worker)
        equal(run(SPLITRINGD, "--hypervisor", m.address(), env=m.env)[0], 1)
        os.kill(worker, signal.SIGTERM)
        wait("its end", lambda: m.info() is None)


def test_machine_gone():
    """the machine's end ends the daemon with status 1, and no worker is started again"""
    with Machine() as m:
        m.start_daemon()
        m.good("machine", "stop", m.name)
        equal(m.daemon.wait(20), 1)
        m.daemon = None
        assert "is gone, and all disks with it" in m.log()
        m.good("machine", "start", m.name)


def test_log():
    """SIGHUP opens the log again after a rename"""
    with Machine() as m:
        log = m.path("daemon.log")
        m.start_daemon("--log", log, "--log-level", "info")
        assert "serving as domain 0" in open(log, encoding="utf-8").read()
        os.rename(log, log + ".1")
        m.daemon.send_signal(signal.SIGHUP)
        wait("the new log", lambda: os.path.exists(log))
        worker = m.info()["pid"]
        for pid in (worker, m.daemon.pid):
            wait("the new log in both", lambda p=pid: log in
                 [os.readlink(f"/proc/{p}/fd/{fd}") for fd in os.listdir(f"/proc/{p}/fd")])
        equal(m.stop_daemon(), 0)
        assert "stopped" in open(log, encoding="utf-8").read()
        fails(run(SPLITRINGD, "--hypervisor", m.address(), "--log", "/nonexistent/l", env=m.env), 1,
              "splitringd: /nonexistent/l: can't write the log: No such file or directory; make its "
              "directory")


def test_drivers():
    """drivers: loaded and listed; missing, foreign and of another ABI version refused"""
    with Machine() as m:
        m.start_daemon("--driver", f"{HERE}/plugin_good.so")
        assert "nothing" in {d["name"] for d in m.info()["drivers"]}
    for plugin, why in [
            ("/nonexistent.so", "driver /nonexistent.so: No such file or directory"),
            ("plugin_good.so", "driver 'plugin_good.so': give the path of the shared object, as in "
             "./plugin_good.so"),
            (f"{HERE}/plugin_foreign.so", f"driver {HERE}/plugin_foreign.so: it exports no "
             "sr_blk_driver, so it is no driver of splitring"),
            (f"{HERE}/plugin_abi.so", None)]:
        got = run(SPLITRINGD, "--check-config", "--driver", plugin)
        if why:
            fails(got, 1, f"splitringd: {why}")
        else:
            equal(got[0], 1)
            assert re.fullmatch(r"splitringd: driver \S+plugin_abi.so: .*ABI.*\b7\b.*\n", got[2]), got


def test_notify():
    """systemd hears of the start and of the end"""
    with Machine() as m:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(m.path("notify"))
            ear.settimeout(20)
            m.env["NOTIFY_SOCKET"] = m.path("notify")
            m.start_daemon("--no-supervisor")
            del m.env["NOTIFY_SOCKET"]
            heard = ear.recv(4096)
            while b"READY=1" not in heard:
                heard = ear.recv(4096)
            equal(m.info()["survives_crash"], True)
            equal(m.stop_daemon(), 0)
            while b"STOPPING=1" not in heard:
                heard = ear.recv(4096)


def test_questions():
    """nonsense on the control socket is answered, and harms nobody"""
    with Machine() as m:
        m.start_daemon()
        for line in (b"\n", b"{}\n", b"[1]\n", b'{"cmd": 7}\n', b'{"cmd": "frob"}\n', b"\0\xff\n",
                     b'{"cmd": "refresh"}\n', b'{"cmd": "refresh", "domid": -1, "devid": 1}\n',
                     b'{"cmd": "refresh", "domid": 1, "devid": 51712}\n', b"x" * 4096, b'{"cmd":'):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.settimeout(20)
                s.connect(f"{m.dir}/splitringd-0.sock")
                s.sendall(line)
                s.shutdown(socket.SHUT_WR)
                try:
                    answer = s.makefile("rb").read()
                except ConnectionResetError:  # it closes on a line that is too long
                    answer = b""
            if line.endswith(b"\n"):
                assert b'"ok":false' in answer, (line, answer)
            else:
                equal(answer, b"")
        assert m.info()
        equal(m.stop_daemon(), 0)


main([test_start_and_stop, test_alone, test_second, test_worker_killed, test_worker_told,
      test_supervisor_killed, test_machine_gone, test_log, test_drivers, test_notify,
      test_questions])
