"""Which ways a guest's data may take to a disk, and what each costs, in a PV dom0 and in a PVH driver domain."""
import os

from lab.daemon import leftovers
from lab.guest import qdisk
from lab.host import BY_INSTRUCTIONS
from lab.scenario import equal

MODULES = "modprobe -a xen_evtchn xen_gntdev crc32c_generic ext4 && modprobe xen_gntalloc limit=8192"
DISKS = ("modprobe brd rd_nr=2 rd_size=32768 && mkfs.ext4 -q /dev/ram1 && mkdir -p /direct && "
         "mount -t ext4 /dev/ram1 /direct && truncate -s 16M /direct/file")
BLOCK, FILE, NVME = "/dev/ram0", "/direct/file", "/dev/nvme0n1"
WHERE = {BLOCK: "a RAM disk", FILE: "a file on ext4", NVME: "NVMe, by DMA"}
# Whether the kernel pins granted pages for longer than a request: 6.1 pins no mapping of a file.
REGISTERED = {"bookworm": "EOPNOTSUPP", "trixie": "ok"}
DAEMON = "splitringd --hypervisor xen: --pidfile /run/splitringd.pid --log /tmp/splitringd.log"
FIO = ("fio --name=v --filename=/dev/xvda --direct=1 --rw=randrw --bsrange=4k-128k --size=8M --iodepth=32 "
       "--ioengine=libaio --verify=crc32c --output-format=terse >/dev/null")


def measure(machine, front, disks):
    """What data-path says there, as words a line, by disk; "" is what it says before the first."""
    machine.good(f"{MODULES} && {DISKS}")
    peer = front.start(f"exec contract-peer xen: {getattr(machine, 'domid', 0)}")
    output = machine.good(f"data-path {front.domid} {' '.join(disks)}", 300)
    peer.kill()
    found, disk = {"": []}, ""
    for words in (line.split() for line in output.splitlines()):
        disk = words[1] if words[0] == "disk" else disk
        found.setdefault(disk, []).append(words)
    return found


def show(place, found):
    """The costs, a line for each number of pages."""
    print(f"# {place}, by instruction count: ns a page of so many, without a disk (read / write)")
    table([words[1:] for words in found[""]])
    for disk in (d for d in found if d and d != NVME):  # its time is QEMU's, not the machine's
        print(f"# {place}, {WHERE[disk]}, io_uring: ns a request (read / write)")
        table([words[1:] for words in found[disk] if words[0] == "request"])
        print(f"# {place}, {WHERE[disk]}: ns a request by way and memory (read / write)")
        table([[words[2], f"{words[3]} by {words[1]}", words[5], words[7]]
               for words in found[disk] if words[0] == "way"])


def table(rows):
    """Rows of a column's name, a line's name and two figures."""
    lines = {}
    for column, line, read, write in rows:
        lines.setdefault(line, []).append(f"{column} {read}/{write}")
    for line, cells in lines.items():
        print(f"#   {line:26} " + ", ".join(cells), flush=True)


def one_place(lab, place, release, machine, front, disks):
    found = {}
    with lab.check(f"{place}: all is tried"):
        found = measure(machine, front, disks)
        show(place, found)
    judge(lab, place, release, found)


def judge(lab, place, release, found):
    for disk in (d for d in found if d):
        rows = [words for words in found[disk] if words[0] == "way"]
        with lab.check(f"{place}, {WHERE[disk]}: preadv, libaio and io_uring work on the guest's pages where they lie"):
            equal([row for row in rows if row[1] != "io_uring-registered" and (row[4], row[6]) != ("ok", "ok")], [])
            equal(len(rows), 22, "lines")
        with lab.check(f"{place}, {WHERE[disk]}: these as registered buffers: {REGISTERED[release]}"):
            equal({word for row in rows if row[1] == "io_uring-registered" and row[2] == "mapped"
                   for word in (row[4], row[6])}, {REGISTERED[release]})


def serve(lab, host, driver):
    """splitringd in the driver domain, with O_DIRECT on pages that stay mapped."""
    with lab.check("PVH driver domain: splitringd serves a guest's disk from its RAM disk, persistent grants, verified"):
        driver.start(f"exec {DAEMON}")
        driver.wait_for("splitringd", "test -s /run/splitringd.pid")
        guest = host.create("g", "pv", ["backend=drv," + qdisk(BLOCK)])
        guest.good(FIO, 240)
        line = driver.good("grep connected: /tmp/splitringd.log")
        assert BLOCK in line and "persistent grants" in line, line
        guest.shutdown()


def one_release(lab, release, image):
    host = lab.boot(release, accel=BY_INSTRUCTIONS["accel"],
                    more=[*BY_INSTRUCTIONS["more"], "-drive", f"file={image},if=none,id=disk,format=raw",
                          "-device", "nvme,drive=disk,serial=lab"])
    linux = ".".join(host.good("uname -r").split(".")[:2])
    front = host.create("front")
    front.good(MODULES)
    host.good("modprobe nvme")
    host.wait_for("the NVMe disk", f"test -b {NVME}")
    one_place(lab, f"PV dom0, Linux {linux}", release, host, front, (BLOCK, FILE, NVME))
    driver = host.create("drv", "pvh", memory=256, config="driver_domain=1\n")
    one_place(lab, f"PVH driver domain, Linux {linux}", release, driver, front, (BLOCK, FILE))
    serve(lab, host, driver)
    with lab.check(f"Linux {linux}: no grant stays mapped"):
        front.shutdown()
        driver.destroy()
        equal(leftovers(host), [])


def run(lab):
    image = os.path.join(lab.folder, "nvme.img")
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    try:
        for release in REGISTERED:
            one_release(lab, release, image)
    finally:
        os.remove(image)
