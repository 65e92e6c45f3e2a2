"""The seam's contract suite on real Xen: dom0 and a guest, then two guests."""
from lab.image import CONTRACT
from lab.suite import run_suite

MODULES = "modprobe -a xen_evtchn xen_gntdev && modprobe xen_gntalloc limit=8192"


def peer(guest, tester):
    """Makes the guest do the other side for the domain `tester`."""
    guest.good(MODULES)
    guest.start(f"exec contract-peer xen: {tester}")
    return guest.domid


def short(program):
    return program.removeprefix("test_contract_")


def run(lab):
    host = lab.boot()
    front = host.create("front", memory=160)
    spares = [host.create(f"spare{i}", memory=160) for i in range(3)]
    numbers = [str(peer(guest, 0)) for guest in spares]
    peer(front, 0)
    for program in CONTRACT[1:]:
        # Each takes a spare at most, and destroys it.
        spare = numbers[0] if numbers and program not in ("test_contract_gntshr", "test_contract_death") else ""
        numbers = numbers[1:] if spare else numbers
        run_suite(lab, host, f"SR_CONTRACT_FRONT={front.domid} SR_CONTRACT_SPARE={spare} {program} xen:",
                  f"dom0 and a guest: {short(program)}")
    for guest in (front, *spares):
        host.run(f"xl destroy {guest.name} 2>/dev/null")
        guest.forget()
    # Of 256 entries each, two for each page that a PV domain maps: enough for all cases but the one that wants
    # them to run out.
    back = host.create("back", memory=160, config="max_maptrack_frames=12\n")
    front = host.create("front2", memory=160)
    back.good(MODULES)
    peer(front, back.domid)
    for program in CONTRACT[1:]:
        run_suite(lab, back, f"SR_CONTRACT_FRONT={front.domid} {program} xen:", f"two guests: {short(program)}")
    with lab.check("no domain and no grant of it is left"):
        for guest in (back, front):
            guest.destroy()
        host.wait_for("the end of all guests", "[ $(xl list | wc -l) -eq 2 ]")
