#!/usr/bin/env python3
"""What an operator can get wrong, with the exit status and the line that it gives."""
import os

from harness import (BUILD, SPLITRING, SPLITRINGD, Machine, equal, fails, main, run)

KNOWN = ("name, uuid, type, memory, maxmem, vcpus, kernel, ramdisk, extra, disk, vif, "
         "on_poweroff, on_reboot, on_crash")


def test_help():
    """--help and --version print on standard output and succeed"""
    for program in (SPLITRING, SPLITRINGD):
        status, out, err = run(program, "--help")
        equal((status, err), (0, ""))
        assert out.startswith("usage: ")
        status, out, err = run(program, "--version")
        equal((status, err), (0, ""))
        equal(out, f"{os.path.basename(program)} 0.1.0\n")


def test_command_arguments():
    """splitring: wrong arguments are exit status 2 and name what is wrong"""
    for args, line in [
            (["frob"], "splitring: frob: no such command; see splitring --help"),
            (["machine"], "splitring: machine: start, stop or list?"),
            (["machine", "frob"],
             "splitring: machine frob: no such command; use start, stop or list"),
            (["machine", "start"], "splitring: start: too few arguments"),
            (["machine", "start", "a", "b"], "splitring: start: too many arguments"),
            (["machine", "start", "a b"], "splitring: machine `a b': not a name; use up to 48 "
             "letters, digits, '.', '_', '-'"),
            (["machine", "start", "a", "--memory", "x"],
             "splitring: --memory: bad value `x'; give MiB, from 1 to 1048576"),
            (["create"], "splitring: create: too few arguments"),
            (["list", "--frob"], "splitring: --frob: unknown option"),
            (["machine", "start", "a", "--memory"], "splitring: --memory: it needs a value"),
            (["block-attach", "g"], "splitring: block-attach: too few arguments"),
            (["block-detach", "g", "xvda", "x"], "splitring: block-detach: too many arguments")]:
        fails(run(SPLITRING, *args), 2, line)
    equal(run(SPLITRING)[0], 2)
    equal(run(SPLITRING, "--frob", "list")[0], 2)


def test_no_machine():
    """splitring: no machine, several machines, a dead one"""
    machine = Machine()
    fails(machine.splitring("list"), 1,
          "splitring: no machine runs here; start one: splitring machine start NAME")
    fails(machine.splitring("-m", "x", "list"), 1, f"splitring: {machine.path('run')}/x: no machine "
          "runs there; splitring machine start NAME")
    with machine:
        machine.good("machine", "start", "other")
        fails(machine.splitring("list"), 1,
              "splitring: 2 machines run here; choose one with -m NAME")
        machine.good("-m", "other", "list")
        fails(machine.splitring("machine", "start", "other"), 1,
              f"splitring: {machine.path('run')}/other: a machine runs there already")
        pid = machine.json("machine", "list")[1]["pid"]
        os.kill(pid, 9)
        machine.good("list")
        equal([m["running"] for m in machine.json("machine", "list")], [True, False])
        assert "died" in machine.good("machine", "list")
        machine.good("machine", "start", "other")
        machine.good("machine", "stop", "other")


def test_guest_config():
    """splitring create: what a guest's configuration can get wrong"""
    with Machine() as m:
        sh = 'name="g"\nkernel="/bin/sh"\n'
        cfg = m.path("g.cfg")
        for text, line in [
                (sh + 'frob=1\n', f"{cfg}:3: unknown key `frob'; known are {KNOWN}"),
                ('kernel="/bin/sh"\n', f'{cfg}: no name; add name = "..."'),
                ('name="a b"\nkernel="/bin/sh"\n', f"{cfg}:1: name: bad value `a b'; use up to 63 "
                 "letters, digits, '.', '_', '+', '-'"),
                ('name="g"\n', f'{cfg}: no kernel; add kernel = "PROGRAM", which runs as the guest'),
                ('name="g"\nkernel="/nonexistent"\n', f"{cfg}:2: kernel: /nonexistent: No such file "
                 "or directory; give the path of a program"),
                (sh + 'ramdisk="/nonexistent"\n', f"{cfg}:3: ramdisk: /nonexistent: No such file or "
                 "directory; give the path of a readable file"),
                (sh + 'memory="lots"\n', f"{cfg}:3: memory: bad value `lots'; it has to be a number "
                 "from 1 to 1048576"),
                (sh + 'vcpus=0\n', f"{cfg}:3: vcpus: bad value `0'; it has to be a number from 1 to "
                 "128"),
                (sh + 'type="hvm"\n', f"{cfg}:3: type: `hvm' needs a real Xen; use pv or pvh"),
                (sh + 'on_crash="restart"\n', f"{cfg}:3: on_crash: `restart' can't be done; a guest "
                 "that ends is destroyed"),
                (sh + 'uuid="12"\n', f"{cfg}:3: uuid: bad value `12'; write 32 hexadecimal digits, "
                 "as uuidgen(1) does"),
                (sh + 'vif=["model=e1000"]\n', f"{cfg}:3: vif `model=e1000': model=e1000 is an "
                 "emulated NIC, which needs a real Xen; leave it out"),
                (sh + 'extra="\'a"\n', f"{cfg}:3: extra: a quote is not closed in `'a'; close it"),
                (sh + 'disk=["/i,qcow2,xvda,w"]\n', f"{cfg}:3: disk `/i,qcow2,xvda,w': format=qcow2 "
                 "is not served; convert the image to raw"),
                (sh + 'disk=["/i,raw,xvda,w","/j,raw,xvda,w"]\n',
                 f"{cfg}:3: disk: xvda twice; use another vdev"),
                ('name=g\n', f"{cfg}:1: syntax error near `g': syntax error, unexpected IDENT, "
                 "expecting STRING or NUMBER or '['; see xl.cfg(5) for the syntax")]:
            m.write("g.cfg", text)
            fails(m.splitring("create", cfg), 1, f"splitring: {line}")
        m.write("g.cfg", sh)
        fails(m.splitring("create", cfg, "frob"), 1,
              "splitring: `frob': not a setting; write key=value")
        fails(m.splitring("create", cfg, "frob=1"), 1,
              f"splitring: argument 1: unknown key `frob'; known are {KNOWN}")
        fails(m.splitring("create", "/nonexistent"), 1, "splitring: /nonexistent: No such file or "
              "directory; give the path of a readable file")
        equal([d["name"] for d in m.json("list")], ["Domain-0"])


def test_domain_arguments():
    """splitring: domains and disks that are not there"""
    with Machine() as m:
        none = "splitring: g: no such domain; see splitring list"
        fails(m.splitring("destroy", "g"), 1, none)
        fails(m.splitring("block-list", "g"), 1, none)
        fails(m.splitring("block-attach", "g", "/i,raw,xvda,w"), 1, none)
        fails(m.splitring("console", "g"), 1,
              "splitring: g: no such guest, now or before; see splitring list")
        fails(m.splitring("destroy", "0"), 1,
              "splitring: domain 0 is the machine itself; use splitring machine stop")
        fails(m.splitring("block-attach", "0", "/i,raw,xvda,w"), 1,
              "splitring: Domain-0: not a guest; see splitring list")
        m.good("create", m.guest())
        fails(m.splitring("create", m.guest()), 1, "splitring: g: a domain of that name exists; "
              "destroy it, or use another name")
        fails(m.splitring("block-detach", "g", "xvdz"), 1,
              "splitring: xvdz: domain 1 has no such disk; see splitring block-list")
        fails(m.splitring("block-detach", "g", "frob"), 1,
              "splitring: frob: no virtual disk; use xvda to xvdz")
        fails(m.splitring("block-attach", "g", "/i,raw,frob,w"), 1,
              "splitring: disk `/i,raw,frob,w': vdev=frob is no virtual disk; use xvda to xvdz")
        fails(m.splitring("block-attach", "g", "/i,raw,xvda,w"), 1, "splitring: xvda: no splitringd "
              f"serves domain 0; start it: splitringd --hypervisor embedded:{m.dir}")
        equal(m.json("block-list"), [])
        equal(m.xenstore("read", "/local/domain/0/backend/vbd"), None)


def test_daemon_arguments():
    """splitringd: wrong arguments are exit status 2 and name what is wrong"""
    see = "; see splitringd --help"
    for args, line in [
            (["--frob"], f"splitringd: --frob: unknown or ambiguous option{see}"),
            (["frob"], f"splitringd: frob: unexpected argument{see}"),
            (["--log"], f"splitringd: --log: it needs a value{see}"),
            (["--threads", "0"], "splitringd: bad number of threads `0'; use 1 to 64"),
            (["--threads", "65"], "splitringd: bad number of threads `65'; use 1 to 64"),
            (["--mode", "fast"], "splitringd: bad mode `fast'; use adaptive, poll or interrupt"),
            (["--log-level", "all"],
             "splitringd: bad log level `all'; use error, warning, info or debug"),
            (["--cpus", "1-"],
             "splitringd: bad list of CPUs `1-'; write at most 64 numbers as 2,4-7"),
            (["--cpus", "5-4"],
             "splitringd: bad list of CPUs `5-4'; write at most 64 numbers as 2,4-7"),
            (["--cpus", "0,1", "--threads", "3"], "splitringd: 3 threads but 2 CPUs to pin them "
             "to; give as many CPUs as threads")]:
        fails(run(SPLITRINGD, *args), 2, line)


def test_daemon_config():
    """splitringd --check-config: ok, or what is wrong and where"""
    m = Machine()
    cfg = m.path("d.conf")
    known = ("hypervisor, log, log_level, threads, cpus, mode, spin_us, drivers, bridges, "
             "ports, net_threads, net_cpus, net_max_queues, uplink_mtu, pidfile, supervisor, max_queues, max_ring_page_order, max_indirect_segments, "
             "max_persistent_grants")
    for text, line in [
            ("frob = 1\n", f"{cfg}:1: unknown key `frob'; known are {known}"),
            ("\nthreads = 100\n",
             f"{cfg}:2: threads: bad value `100'; it has to be a number from 1 to 64"),
            ("mode = 'fast'\n", f"{cfg}:1: bad mode `fast'; use adaptive, poll or interrupt"),
            ("mode = fast\n", f"{cfg}:1: syntax error near `fast': syntax error, unexpected IDENT, "
             "expecting STRING or NUMBER or '['; see xl.cfg(5) for the syntax"),
            ("max_queues = 17\n",
             f"{cfg}:1: max_queues: bad value `17'; it has to be a number from 1 to 16"),
            ("supervisor = 2\n", f"{cfg}:1: supervisor: bad value `2'; write 1 or 0")]:
        m.write("d.conf", text)
        fails(run(SPLITRINGD, "--check-config", "--config", cfg), 1, f"splitringd: {line}")
    m.write("d.conf", "# all of them\nhypervisor = 'xen:'\nlog = '/tmp/l'\nlog_level = 'debug'\n"
            "threads = 2\ncpus = '0-1'\nmode = 'poll'\nspin_us = 10\ndrivers = []\n"
            "pidfile = '/tmp/p'\nsupervisor = 0\nmax_queues = 2\nmax_ring_page_order = 0\n"
            "max_indirect_segments = 0\nmax_persistent_grants = 0\n")
    equal(run(SPLITRINGD, "--check-config", "--config", cfg), (0, "ok\n", ""))
    fails(run(SPLITRINGD, "--config", "/nonexistent", "--check-config"), 1,
          "splitringd: /nonexistent: No such file or directory; give the path of a readable file")
    m.temp.cleanup()


def test_daemon_hypervisor():
    """splitringd: no hypervisor, a wrong address, a machine that does not run"""
    env = {k: v for k, v in os.environ.items() if k != "SPLITRING_HYPERVISOR"}
    if not os.path.exists("/dev/xen/gntdev"):
        fails(run(SPLITRINGD, env=env), 1, "splitringd: this is no Xen host; start a machine "
              "(splitring machine start NAME) and give --hypervisor embedded:DIR")
    fails(run(SPLITRINGD, "--hypervisor", "kvm:"), 1, "splitringd: kvm:: no address of a "
          "hypervisor; use xen: or embedded:DIR")
    fails(run(SPLITRINGD, "--hypervisor", "embedded:/nonexistent"), 1, "splitringd: "
          "embedded:/nonexistent: no machine there; splitring machine start NAME")
    fails(run(SPLITRINGD, "--hypervisor", "embedded:/tmp#x"), 1, "splitringd: embedded:/tmp#x: `x' "
          "is no domain's number; write DIR#7")
    assert os.path.isdir(BUILD)


main([test_help, test_command_arguments, test_no_machine, test_guest_config, test_domain_arguments,
      test_daemon_arguments, test_daemon_config, test_daemon_hypervisor])
