"""Which core to run on."""
import subprocess

PROBE_READS = 2000


def interrupts():
    """Counts of each interrupt on the first two cores, by its number."""
    counts = {}
    with open("/proc/interrupts", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            fields = line.split()
            if len(fields) > 2 and fields[0][:-1].isdigit() and fields[2].isdigit():
                counts[fields[0]] = (int(fields[1]), int(fields[2]))
    return counts


def disk_core(path):
    """
    Which of the cores 0 and 1 serves the interrupts of the disk that `path`, a file of 8 MiB or more,
    lies on; 0 if that can't be seen. Whoever drives the disk runs there, the backend and native fio alike.
    """
    before = interrupts()
    # Fails where the file system has no O_DIRECT: then no interrupt shows either.
    subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=4k", f"count={PROBE_READS}",
                    "iflag=direct"], check=False, stderr=subprocess.DEVNULL)
    grown = [[now - then for now, then in zip(counts, before.get(name, counts))]
             for name, counts in interrupts().items()]
    best = max(grown, key=max, default=[0, 0])
    return best.index(max(best)) if max(best) >= PROBE_READS / 2 else 0
