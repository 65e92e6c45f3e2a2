"""The figures of `./dev bench net` as tables for a page."""
from . import stacks, traffic


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def ratio(value):
    return "-" if value is None else f"{value:.2f}x"


def packets(workloads):
    """Mpps of each contender, with the ratio to the better vhost in the same round."""
    labels = list(dict.fromkeys(label for found in workloads.values() for label in found["results"]))

    def cell(found, label):
        r = found["results"].get(label)
        return f"{r['mpps']:.1f} ({ratio(r['ratio'])})" if r else "-"

    def name(label):
        return f"**{label}**" if label.startswith("splitring") else label

    return table(["Mpps (of the better vhost)", *(name.replace("-", ", guest ") + "s" for name in workloads)],
                 [[name(label), *(cell(found, label) for found in workloads.values())] for label in labels])


def iperf(workloads):
    ours, relay, bridge = stacks.Vifs.plain, stacks.Relay.label, stacks.Bridge.label

    def cells(r, key):
        return [f"{r[label][key]:.2f}" for label in (ours, relay, bridge)]

    return table(["iperf3", "splitring, Gbit/s", relay, bridge, "of the relay", "of the bridge",
                  "splitring, CPU s a GB", relay, bridge],
                 [[name, *cells(r, "gbit_s"), ratio(r["relay_ratio"]), ratio(r["ratio"]), *cells(r, "cpu_s_per_gb")]
                  for name, r in workloads.items()])


def latency(medians):
    return table(["round trip, us", *(f"{load}, {p}" for load in traffic.LOADS for p in ("p50", "p99"))],
                 [[label, *(f"{r[load][key]:.1f}" for load in traffic.LOADS for key in ("p50_us", "p99_us"))]
                  for label, r in medians.items()])


def vifs(medians):
    return table(["vifs", *medians], [["Mpps between them", *(f"{r['mpps']:.2f}" for r in medians.values())]])


def page(report):
    parts = []
    if report["workloads"]:
        parts.append(packets(report["workloads"]))
    for key, make, inner in (("iperf", iperf, "workloads"), ("latency", latency, "medians"), ("vifs", vifs, "medians")):
        if key in report:
            parts.append(make(report[key][inner]))
    before, after = report["calibration"]
    parts.append(f"Medians of {report['rounds']} rounds of {report['runtime_s']} s; a system call "
                 f"{before['syscall_ns'] / 1000:.1f} us, a cache line's round trip {before['line_round_trip_ns'] / 1000:.1f} us "
                 f"before and {after['line_round_trip_ns'] / 1000:.1f} us after.\n")
    return "\n".join(parts)
