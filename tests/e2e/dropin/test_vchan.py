#!/usr/bin/env python3
"""
Debian's vchan-socket-proxy and xenstore tools, unmodified, over the drop-in libraries: two
processes that are two domains of an embedded machine.
"""
import os
import random
import shutil
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["SR_SOURCE"], "tests/e2e/tools"))
from harness import BUILD, Machine, Skip, equal, main, run, wait  # pylint: disable=wrong-import-position
from unmodified import domain_env, need  # pylint: disable=wrong-import-position

PROXY = "/usr/lib/xen-4.17/bin/vchan-socket-proxy"
PATH = "data/vchan"
DATA = random.Random(3).randbytes(1500000)


class Proxy:
    """`with Proxy(...) as p:` one end; what goes in and comes out are p.send() and p.output()."""

    def __init__(self, machine, domid, mode, peer, path, target="-"):
        need(PROXY, "xen-utils-4.17")
        self.out = machine.path(f"{mode}-{domid}.out")
        with open(self.out, "wb") as out, open(self.out + ".err", "wb") as err:
            self.process = subprocess.Popen(
                [PROXY, f"--mode={mode}", str(peer), path, target],
                env=domain_env(machine, domid), stdin=subprocess.PIPE, stdout=out, stderr=err)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        if not self.process.stdin.closed:
            self.process.stdin.close()

    def send(self, data):
        def feed():
            try:
                self.process.stdin.write(data)
                self.process.stdin.flush()
            except OSError:
                pass  # the test that looks for the data says so

        threading.Thread(target=feed, daemon=True).start()

    def output(self):
        with open(self.out, "rb") as file:
            return file.read()

    def ended(self):
        """Its exit status; -1 and what it said where it does not end."""
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            return -1


def same(got, want):
    assert got == want, f"{len(got)} bytes came, {len(want)} were sent, or they differ"


def exchange(server, client):
    server.send(DATA)
    # As in ping(): not before the server has seen the client.
    wait("the first data", client.output)
    client.send(DATA[::-1])
    wait("the data", lambda: len(server.output()) + len(client.output()) >= 2 * len(DATA))
    same(client.output(), DATA)
    same(server.output(), DATA[::-1])


def held(machine):
    """What the machine's domains hold that a closed vchan must not."""
    keys = ("domid", "grants", "grants_pinned", "event_channels", "connections")
    return [tuple(d[key] for key in keys) for d in machine.json("list")]


def test_guest_and_dom0():
    """A guest's server and domain 0's client exchange data."""
    with Machine() as m:
        m.good("create", m.guest())
        before = held(m)
        with Proxy(m, 1, "server", 0, PATH) as server, \
             Proxy(m, 0, "client", 1, f"/local/domain/1/{PATH}") as client:
            exchange(server, client)
            assert held(m) != before
            client.process.stdin.close()
            equal(client.ended(), 0)
            equal(server.ended(), 0)
        wait("the handles to close", lambda: held(m) == before)


def test_two_guests():
    """Two guests that may map each other's pages exchange data."""
    with Machine("--trust-guests") as m:
        m.good("create", m.guest("a"))
        m.good("create", m.guest("b"))
        with Proxy(m, 1, "server", 2, PATH) as server, \
             Proxy(m, 2, "client", 1, f"/local/domain/1/{PATH}") as client:
            exchange(server, client)


def test_kill():
    """Either end learns that the other was killed."""
    with Machine() as m:
        m.good("create", m.guest())
        before = held(m)
        for victim in range(2):
            with Proxy(m, 1, "server", 0, PATH) as server, \
                 Proxy(m, 0, "client", 1, f"/local/domain/1/{PATH}") as client:
                exchange(server, client)
                ends = [server, client]
                ends[victim].process.kill()
                equal(ends[1 - victim].ended(), 0)
            m.xenstore("rm", f"/local/domain/1/{PATH}")
        wait("the handles to close", lambda: held(m) == before)


def test_destroy():
    """Domain 0's end learns that the guest is gone."""
    with Machine() as m:
        m.good("create", m.guest())
        with Proxy(m, 1, "server", 0, PATH) as server, \
             Proxy(m, 0, "client", 1, f"/local/domain/1/{PATH}") as client:
            exchange(server, client)
            m.good("destroy", "g")
            equal(client.ended(), 0)


def ping(door, listener, turn):
    """True: what was said at the door was heard at the service, and answered."""
    with socket.socket(socket.AF_UNIX) as near:
        near.settimeout(20)
        near.connect(door)
        # What is sent before the server has seen the client would wait for more: the proxy looks
        # for data after an event only, and the two events are one.
        far, _ = listener.accept()
        near.sendall(b"ping %d" % turn)
        with far:
            far.settimeout(20)
            heard = far.recv(100)
            if not heard:
                return False
            equal(heard, b"ping %d" % turn)
            far.sendall(b"pong %d" % turn)
            equal(near.recv(100), b"pong %d" % turn)
            near.close()
            equal(far.recv(100), b"")
    return True


def test_sockets():
    """A guest's program that is the proxy itself serves one connection after the other."""
    with Machine() as m, socket.socket(socket.AF_UNIX) as listener:
        need(PROXY, "xen-utils-4.17")
        listener.bind(m.path("service"))
        listener.listen()
        listener.settimeout(20)
        for key, value in domain_env(m, 1).items():
            if key.startswith("LD_") or key in ("ASAN_OPTIONS", "MALLOC_PERTURB_"):
                m.env[key] = value
        m.good("create", m.guest(program=PROXY,
                                 extra=f"--mode=server 0 {PATH} {m.path('service')}"))
        with Proxy(m, 0, "client", 1, f"/local/domain/1/{PATH}", m.path("door")):
            wait("the client's socket", lambda: os.path.exists(m.path("door")))
            # A client that is back before the server has noticed its going is turned away: that
            # is how the two are made.
            served = sum(ping(m.path("door"), listener, turn) for turn in range(6))
            assert served >= 3, f"{served} of 6 connections were served"


def test_xenstore():
    """The xenstore tools see what the server has written."""
    if not shutil.which("xenstore-read"):
        raise Skip("xenstore-utils is not installed")
    with Machine() as m:
        m.good("create", m.guest())
        with Proxy(m, 1, "server", 0, PATH):
            node = f"/local/domain/1/{PATH}/event-channel"
            wait("the server's nodes", lambda: m.xenstore("read", node))
            env = domain_env(m, 0)
            for tool in ("read", "exists", "ls", "list"):
                equal(run(f"xenstore-{tool}", node, env=env)[::2], (0, ""))
            status, out, err = run(f"{BUILD}/hypervisor/dropin/as-domain", f"{m.dir}#1",
                                   "xenstore-read", "domid")
            equal((status, out, err), (0, "1\n", ""))
            equal(run(f"{BUILD}/hypervisor/dropin/as-domain", m.dir, "true")[0], 2)


main([test_guest_and_dom0, test_two_guests, test_kill, test_destroy, test_sockets, test_xenstore])
