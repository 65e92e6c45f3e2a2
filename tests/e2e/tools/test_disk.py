#!/usr/bin/env python3
"""Guests and their disks through the two programs: made, used, taken away, and nothing left."""
import json
import os
import signal

from harness import BUILD, Machine, equal, fails, main, wait

HERE = f"{BUILD}/tests/e2e/tools"
VERIFY = f"{BUILD}/tools/verify"
LEFT = ("domains", "event_channels", "store_nodes", "store_watches", "store_connections")


def verified(m, name):
    """What a guest's verify has counted, from the last line on its console."""
    return json.loads(m.good("console", name).strip().splitlines()[-1])


def gone(m, name):
    wait(f"the end of {name}", lambda: not m.domain(name), 60)


def counters(m):
    """What grows where something leaks: of the machine, and the daemon's descriptors."""
    info = m.json("info")
    return {k: info["machine"][k] for k in LEFT} | {"fds": info["daemon"]["fds"]}


def settled(m, before):
    """The counters are back at what they were."""
    try:
        wait("what was held to be given back", lambda: counters(m) == before)
    except AssertionError:
        equal(counters(m), before)
        raise


def test_whole():
    """a guest verifies a file, with each way to write a disk"""
    with Machine() as m:
        m.start_daemon()
        image = m.image(size=4 << 20)
        for spec in (f"{image},raw,xvda,w", f"format=raw,vdev=xvda,access=rw,target={image}",
                     f"vdev=xvda,target=uring:{image}", f"vdev=xvda,target=aio:{image}",
                     f"{image},raw,xvda,w,backendtype=qdisk"):
            with open(image, "wb") as file:
                file.truncate(4 << 20)
            out = m.good("create", "-c", m.guest(program=VERIFY, extra="-t 1", disks=[spec]))
            did = json.loads(out.strip().splitlines()[-1])
            assert did["writes"] > 100 and did["reads"] > 1024, did
            equal((did["errors"], did["differences"]), (0, 0))
            gone(m, "g")
        equal(m.stop_daemon(), 0)


def test_descendants():
    """what a guest's program has started ends with it"""
    def alive(pid):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"

    with Machine() as m:
        pids = m.path("pids")
        for end in ("exit 0", "exec sleep 1000"):
            m.good("create", m.guest(extra=f"-c 'sleep 1000 & echo $! >{pids}; {end}'"))
            wait("its child", lambda: os.path.exists(pids) and os.stat(pids).st_size)
            with open(pids, encoding="ascii") as file:
                child = int(file.read())
            os.unlink(pids)
            if "sleep" in end:
                assert alive(child)
                m.good("destroy", "g")
            wait("the child's end", lambda: not os.path.exists(f"/proc/{child}") or not alive(child))
            gone(m, "g")


def test_list():
    """list, info and block-list tell of a guest at work"""
    with Machine() as m:
        m.start_daemon()
        m.good("create", m.guest(program=VERIFY, extra="-d xvdb", disks=[
            "vdev=xvdb,target=ram:size=4M", f"{m.image()},raw,xvda,r"]))
        wait("I/O", lambda: m.json("block-list")[1].get("requests", 0) > 1000)
        listed = m.json("block-list", "g")
        equal([(d["vdev"], d["devid"], d["driver"], d["read_only"]) for d in listed],
              [("xvda", 51712, "uring", True), ("xvdb", 51728, "ram", False)])
        equal((listed[1]["state"], listed[1]["size"]), ("connected", 4 << 20))
        assert "xvdb" in m.good("block-list")
        guest = m.domain("g")
        equal((guest["state"], guest["kind"], guest["memory_mib"]), ("running", "guest", 16))
        assert guest["event_channels"] and guest["grants_pinned"]
        assert "g " in m.good("list") and "pinned" in m.good("list", "--long")
        assert m.info()["requests"] > 1000
        m.good("destroy", "g")
        equal(m.json("block-list"), [])
        equal(m.domain("g"), None)


def test_nodes():
    """the nodes are those that libxl writes, with its permissions"""
    with Machine() as m:
        m.start_daemon()
        image = m.image()
        m.good("create", m.guest(disks=[f"{image},raw,xvda,w"]))
        back = "/local/domain/0/backend/vbd/1/51712"
        front = "/local/domain/1/device/vbd/51712"
        read = lambda path: (m.xenstore("read", path) or "").rstrip("\n")
        for node, value in {
                "frontend": front, "frontend-id": "1", "online": "1", "removable": "0",
                "bootable": "1", "state": "2", "dev": "xvda", "type": "phy", "mode": "w",
                "device-type": "disk", "discard-enable": "1", "params": image}.items():
            equal((node, read(f"{back}/{node}")), (node, value))
        for node, value in {
                "backend": back, "backend-id": "0", "state": "1", "virtual-device": "51712",
                "device-type": "disk"}.items():
            equal((node, read(f"{front}/{node}")), (node, value))
        perms = m.xenstore("ls", "-fp", "/local/domain").splitlines()
        perms = {line.split(" = ")[0].strip(): line.rsplit("(", 1)[1].rstrip(")") for line in perms}
        equal(perms[back], "n0,r1")
        equal(perms[front], "n1,r0")


def test_refused():
    """a disk that can't be had: the reason on the line, and nothing stays behind"""
    with Machine() as m:
        m.start_daemon()
        before = counters(m)
        missing, odd = m.path("missing"), m.image("odd", 1000)
        for target, why in [(missing, f"{missing}: there is no such file"), (odd, "512"), ("frob:x", "frob"),
                            ("null:size=1G,frob=1", "frob"), (f"uring:{odd},frob=1", "frob")]:
            status, out, err = m.splitring(
                "create", m.guest(disks=[f"vdev=xvda,target={target}"]))
            equal((status, out), (1, ""))
            assert err.startswith("splitring: xvda: splitringd refused it: ") and why in err, err
            equal(err.count("\n"), 1)
            equal([d["name"] for d in m.json("list")], ["Domain-0"])
        # The second disk's failure takes back the first.
        equal(m.splitring("create", m.guest(disks=[
            f"{m.image()},raw,xvda,w", f"{missing},raw,xvdb,w"]))[0], 1)
        equal(m.json("block-list"), [])
        # A program that can't run does as well.
        m.write("noexec", "not a program")
        os.chmod(m.path("noexec"), 0o755)
        fails(m.splitring("create", m.guest(program=m.path("noexec"), disks=[
            f"{m.image()},raw,xvda,w"])), 1,
            f"splitring: g: can't run {m.path('noexec')}: Exec format error")
        settled(m, before)


def test_locked():
    """an image that another guest writes is refused by name, and readable once it is free"""
    with Machine() as m:
        m.start_daemon()
        image = m.image()
        m.good("create", m.guest("a", disks=[f"{image},raw,xvda,w"]))
        status, _, err = m.splitring("create", m.guest("b", disks=[f"{image},raw,xvda,w"]))
        equal(status, 1)
        assert image in err and "lock" in err and err.count("\n") == 1, err
        m.good("destroy", "a")
        m.good("create", m.guest("b", disks=[f"{image},raw,xvda,w"]))


def test_attach():
    """block-attach and block-detach, forced and not, leave nothing"""
    with Machine() as m:
        m.start_daemon()
        m.good("create", m.guest())
        before = counters(m)
        image = m.image()
        for vdev in ("xvda", "xvdb1", "sda", "hda", "d20p3", "51728"):
            m.good("block-attach", "g", f"{image},raw,{vdev},w")
            equal(len(m.json("block-list", "g")), 1)
            fails(m.splitring("block-attach", "g", f"{image},raw,{vdev},w"), 1,
                  f"splitring: {vdev}: domain 1 has such a disk; detach it, or use another vdev")
            m.good("block-detach", "g", vdev, *(["--force"] if vdev == "sda" else []))
            equal(m.json("block-list"), [])
        settled(m, before)


def test_detach_at_work():
    """block-detach --force under a guest's I/O gives it errors, and no hang"""
    with Machine() as m:
        m.start_daemon()
        m.good("create", m.guest(program=VERIFY, extra="", disks=["vdev=xvda,target=ram:size=4M"]))
        wait("I/O", lambda: m.json("block-list")[0].get("requests", 0) > 1000)
        m.good("block-detach", "g", "xvda", "--force")
        gone(m, "g")
        assert "broken" in m.good("console", "g")


def test_leaks():
    """guests that end in every way leave no node, port, watch or descriptor"""
    with Machine() as m:
        m.start_daemon()
        image = m.image(size=4 << 20)
        config = m.guest(program=VERIFY, extra="-t 100", disks=[
            f"{image},raw,xvda,w", "vdev=xvdb,target=null:size=1G"])
        before = None
        for end in ("term", "kill", "destroy", "term", "kill", "destroy"):
            m.good("create", config)
            wait("I/O", lambda: m.json("block-list")[0].get("requests", 0) > 100)
            if end == "destroy":
                m.good("destroy", "g")
            else:
                os.kill(m.domain("g")["pids"][0],
                        signal.SIGKILL if end == "kill" else signal.SIGTERM)
                gone(m, "g")
                wait("its disks to close", lambda: not m.xenstore(
                    "ls", "/local/domain/0/backend/vbd"))
            # Memory of a guest that left in peace is let go of with the next one's.
            if end == "destroy" and before:
                settled(m, before)
            elif end == "destroy":
                before = counters(m)
        equal(m.stop_daemon(), 0)


def test_drain():
    """SIGTERM under load: what was taken is answered, and the daemon ends with status 0"""
    with Machine() as m:
        m.start_daemon()
        image = m.image(size=4 << 20)
        m.good("create", m.guest(program=VERIFY, extra="", disks=[f"{image},raw,xvda,w"]))
        wait("I/O", lambda: m.json("block-list")[0].get("requests", 0) > 1000)
        equal(m.stop_daemon(), 0)
        gone(m, "g")
        did = verified(m, "g")
        equal(did["differences"], 0)


def test_refresh():
    """an image that has grown is told to the guest"""
    with Machine() as m:
        m.start_daemon()
        image = m.image()
        m.good("create", m.guest(program=VERIFY, extra="", disks=[f"{image},raw,xvda,w"]))
        wait("it", lambda: m.json("block-list")[0].get("state") == "connected")
        os.truncate(image, 2 << 20)
        m.good("block-refresh", "g", "xvda")
        wait("the new size", lambda: m.json("block-list")[0]["size"] == 2 << 20)
        equal(m.xenstore("read", "/local/domain/0/backend/vbd/1/51712/sectors").strip(), "4096")


main([test_whole, test_descendants, test_list, test_nodes, test_refused, test_locked, test_attach,
      test_detach_at_work, test_leaks, test_drain, test_refresh])
