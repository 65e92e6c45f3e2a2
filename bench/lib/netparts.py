"""The parts of `./dev bench net` beside packets of testpmd: iperf3, latency, many vifs. Each gives what JSON is to hold."""
import statistics

from . import forward, plot, stacks, traffic
from .machine import Machine

IPERF_FLOOR = 1.0
MODES = ["poll", "adaptive", "interrupt"]
FRAME = "64"


def say(text=""):
    print(text, flush=True)


def median(rounds, label, key):
    values = [found[label][key] for found in rounds]
    return None if None in values else statistics.median(values)


def shown(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def alternate(rounds, makers, run, progress):
    """[{label: what run(stack) gives}, ...]: the stacks in turns, round by round."""
    found = []
    for number in range(rounds):
        found.append({})
        for make in makers:
            with make() as stack:
                progress(f"round {number + 1}/{rounds}, {stack.label}")
                found[-1][stack.label] = run(stack)
    progress("")
    return found


# --- iperf3 -----------------------------------------------------------------------------------------------------------


def iperf_summary(rounds):
    keys = ("gbit_s", "cpu_s_per_gb", "backend_cpu_s_per_gb", "lost_percent")
    result = {label: {key: median(rounds, label, key) for key in keys} for label in rounds[0]}
    ours = stacks.Vifs.plain
    for key, peer in ("ratio", stacks.Bridge.label), ("relay_ratio", stacks.Relay.label):
        result[key] = statistics.median(r[ours]["gbit_s"] / r[peer]["gbit_s"] for r in rounds)
    return result


def iperf_table(found, congestion):
    columns = (stacks.Vifs.plain, stacks.Relay.label, stacks.Bridge.label)
    say(f"\niperf3 between two guests on splitringd, two namespaces whose TAPs a relay joins, and two on a Linux bridge "
        f"(medians; {congestion} congestion control)")
    say(f"  {'':15} {'Gbit/s':>9} {'relay':>9} {'bridge':>9} {'of relay':>9} {'ratio':>7}   "
        f"{'CPU s a GB':>11} {'relay':>9} {'bridge':>9} {'splitringd':>11}")
    for name, result in found.items():
        say(f"  {name:15} " + " ".join(f"{shown(result[label]['gbit_s']):>9}" for label in columns) +
            f" {result['relay_ratio']:8.2f}x {result['ratio']:6.2f}x   {shown(result[columns[0]]['cpu_s_per_gb']):>11} " +
            " ".join(f"{shown(result[label]['cpu_s_per_gb']):>9}" for label in columns[1:]) +
            f" {shown(result[columns[0]]['backend_cpu_s_per_gb']):>11}")
    udp = found["udp"]
    say("  UDP lost, %: " + ", ".join(f"{label} {shown(udp[label]['lost_percent'], 1)}" for label in columns))
    say(f"  floor: {IPERF_FLOOR}x for TCP: "
        f"{'reached' if all(r['ratio'] >= IPERF_FLOOR for n, r in found.items() if n != 'udp') else 'NOT REACHED'}")


def iperf(args, progress):
    def run(stack):
        return {name: traffic.iperf(stack, name, args.runtime) for name in traffic.IPERF}

    makers = [lambda: stacks.Vifs(args.build), lambda: stacks.Relay(args.build), stacks.Bridge]
    rounds = alternate(args.rounds, makers, run,
                       lambda text: progress(text and f"iperf3: {text}"))
    found = {name: iperf_summary([{label: runs[name] for label, runs in r.items()} for r in rounds])
             for name in traffic.IPERF}
    congestion = args.congestion or traffic.congestion()
    iperf_table(found, congestion)
    for name, result in found.items():
        plot.bars(f"{args.out}/net-iperf-{name}.svg", f"iperf3, {name}",
                  [(label, result[label]["gbit_s"]) for label in rounds[0]], "Gbit/s", 2)
    return {"congestion": congestion, "workloads": found, "rounds": rounds}


# --- latency ----------------------------------------------------------------------------------------------------------


def latency_table(found):
    say("\nround trips of 64 bytes over UDP, us (medians): idle, one after the other; sparse, 200 a second; "
        "loaded, beside TCP at 1 Gbit/s")
    say(f"  {'':22} " + " ".join(f"{load + ' p50':>11} {load + ' p99':>11}" for load in traffic.LOADS))
    for label, result in found.items():
        say(f"  {label:22} " + " ".join(f"{result[load]['p50_us']:11.1f} {result[load]['p99_us']:11.1f}"
                                        for load in traffic.LOADS))


def latency(args, progress):
    def run(stack):
        return {load: traffic.latency(stack, load, args.runtime) for load in traffic.LOADS}

    makers = [lambda mode=mode: stacks.Vifs(args.build, mode) for mode in MODES] + \
        [lambda: stacks.Relay(args.build), stacks.Bridge]
    rounds = alternate(args.rounds, makers, run, lambda text: progress(text and f"latency: {text}"))
    found = {label: {load: {key: statistics.median(r[label][load][key] for r in rounds)
                            for key in ("p50_us", "p99_us")} for load in traffic.LOADS} for label in rounds[0]}
    latency_table(found)
    for load in traffic.LOADS:
        plot.bars(f"{args.out}/net-latency-{load}.svg", f"round trip, {load}, p50",
                  [(label, result[load]["p50_us"]) for label, result in found.items()], "us", 1)
    return {"medians": found, "rounds": rounds}


# --- many vifs --------------------------------------------------------------------------------------------------------


def vifs(args, progress):
    rounds = []
    # What turns: numbers of vifs, on one daemon.
    with Machine(args.build, 1 - args.guest_core) as machine:
        for number in range(args.rounds):
            rounds.append({})
            for count in args.vifs:
                progress(f"{count} vifs: round {number + 1}/{args.rounds}")
                rounds[-1][count] = forward.run(machine, count, FRAME, args.runtime, args.guest_core)
    progress("")
    keys = ("mpps", "sent_mpps", "fewest_mpps", "most_mpps")
    found = {str(count): {key: median(rounds, count, key) for key in keys} for count in args.vifs}
    say(f"\nthe switch: each vif sends packets of {FRAME} B to the next, all guests on one core, splitringd on the other "
        "(medians)")
    say(f"  {'vifs':>6} {'Mpps':>8} {'fewest of a vif':>16} {'most':>8}")
    for count, result in found.items():
        say(f"  {count:>6} {result['mpps']:8.2f} {result['fewest_mpps']:16.4f} {result['most_mpps']:8.4f}")
    plot.bars(f"{args.out}/net-vifs.svg", "between vifs, by their number",
              [(f"splitring, {count}", result["mpps"]) for count, result in found.items()], "Mpps", 2)
    return {"medians": found, "rounds": rounds}
