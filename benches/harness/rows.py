"""The rows of the table: one function each, `row(bench) -> [Line]`. Rounds go over all recorders in turn, so that a
change of the machine's load hits them alike; what is shown is the median over the rounds."""

import re
import subprocess
import sys
import statistics
import time
from collections import defaultdict
from pathlib import Path

from .folded import Completeness, Roots
from .recorders import PerfdDaemon, PerfWithoutStacks
from .targets import Target, median

TOP = Path(__file__).resolve().parents[2]

DAEMON, LOW, HIGH, VERY_HIGH = 997, 999, 4999, 20000


class Line:
    """One line of the table: what was measured, the target to reach, and a text per recorder label."""

    def __init__(self, title, goal=""):
        self.title, self.goal, self.cells = title, goal, {}


class Bench:
    """What rows need: recorders that are there, workloads that are there, how long and how often."""

    def __init__(self, recorders, workloads, scratch, quick):
        self.recorders, self.workloads, self.scratch = recorders, workloads, scratch
        self.rounds = 1 if quick else 3
        # Differences of small numbers want more rounds.
        self.cost_rounds = 1 if quick else 4
        self.pairs = 2 if quick else 5
        self.seconds = 1.5 if quick else 3
        self.failures = []

    def each(self):
        return [recorder for recorder in self.recorders if not recorder.missing]

    def ok(self, recorder, run, what):
        if run.status == 0:
            return True
        self.failures.append(f"{recorder.label}, {what}: exit status {run.status}: {recorder.why_not()}")
        say(f"  {self.failures[-1]}")
        return False

    def missing_workload(self, name, line):
        if self.workloads[name].available:
            return False
        line.cells = {recorder.label: "workload missing" for recorder in self.recorders}
        return True


def say(text):
    print(text, file=sys.stderr, flush=True)


def spread(values, form):
    """`median [least, most]`."""
    values = [value for value in values if value is not None]
    if not values:
        return "failed"
    if len(values) == 1:
        return form.format(values[0])
    return f"{form.format(median(values))} [{form.format(min(values))}, {form.format(max(values))}]"


def cost_and_memory(bench):
    """Recorder CPU per further sample, and peak memory, both attached to `deep`."""
    cost = Line("recorder CPU per further sample (999 → 4999 Hz), µs", "≤ 1")
    whole_cost = Line("recorder CPU per sample at 4999 Hz, start-up included, µs")
    memory = Line("peak memory at 4999 Hz: RssAnon + rings (VmHWM), MB", "≤ 32")
    if bench.missing_workload("deep", cost):
        return [cost]
    costs, whole_costs, anon, high_water = (defaultdict(list) for _ in range(4))
    with Target(bench.workloads["deep"], bench.scratch) as target:
        for _ in range(bench.cost_rounds):
            for recorder in bench.each():
                points = []
                for hz in (LOW, HIGH):
                    run = recorder.attach(target.pid, hz, bench.seconds)
                    if bench.ok(recorder, run, f"attach to deep at {hz} Hz"):
                        points.append((recorder.n_samples(), run.cpu))
                        peak = run.peak
                if len(points) == 2 and points[1][0] > points[0][0]:
                    (low_n, low_cpu), (high_n, high_cpu) = points
                    costs[recorder.label].append((high_cpu - low_cpu) / (high_n - low_n) * 1e6)
                    whole_costs[recorder.label].append(high_cpu / high_n * 1e6)
                    anon[recorder.label].append(peak.anon_and_rings / 1e6)
                    high_water[recorder.label].append(peak.high_water / 1e6)
    for recorder in bench.each():
        label = recorder.label
        cost.cells[label] = spread(costs[label], "{:.1f}")
        whole_cost.cells[label] = spread(whole_costs[label], "{:.1f}")
        if anon[label]:
            memory.cells[label] = f"{max(anon[label]):.0f} ({max(high_water[label]):.0f})"
    return [cost, whole_cost, memory]


def slow_down(bench):
    """Throughput per CPU second of `deep` lost while it is recorded at 4999 Hz; what is above that of samples without stacks, which is the
    machine's own cost of a timer, is the recorder's."""
    line = Line("slow-down of deep at 4999 Hz, %", "≤ samply")
    above = Line("the same above that of samples without stacks, percentage points", "≤ 3")
    if bench.missing_workload("deep", line):
        return [line]
    bare = PerfWithoutStacks(bench.scratch)
    with Target(bench.workloads["deep"], bench.scratch) as target:
        lost = lost_throughput(bench, line, target, target, [bare])
    if lost[bare.label]:
        floor = median(lost[bare.label])
        above.title += f" ({floor:.1f} %, `{bare.settings}`)"
        for recorder in bench.each():
            if lost[recorder.label]:
                above.cells[recorder.label] = f"{median(lost[recorder.label]) - floor:+.1f}"
    return [line, above]


def bystander(bench):
    """The same of a second `deep`, which is no target."""
    line = Line("slow-down of a process that is no target, at 4999 Hz, %")
    if bench.missing_workload("deep", line):
        return [line]
    with Target(bench.workloads["deep"], bench.scratch) as target, Target(bench.workloads["deep"], bench.scratch / "other") as other:
        lost_throughput(bench, line, target, other)
    return [line]


def under_the_daemon(bench):
    """The same at a rate of daily use, by recorders of their own and by the daemon, which is shown in the column of perfd."""
    line = Line(f"slow-down of deep at {DAEMON} Hz, %")
    by_daemon = Line("the same by `perfd daemon`, asked by `perfd ctl attach`")
    perfd = next((recorder for recorder in bench.each() if recorder.label == "perfd"), None)
    if bench.missing_workload("deep", line) or not perfd:
        return [line]
    with Target(bench.workloads["deep"], bench.scratch) as target, PerfdDaemon(bench.scratch, perfd.program) as daemon:
        lost = lost_throughput(bench, line, target, target, [daemon], DAEMON)
    by_daemon.cells["perfd"] = spread(lost[daemon.label], "{:.1f}")
    return [line, by_daemon]


def lost_throughput(bench, line, target, observed, others=(), hz=HIGH):
    """What `observed` loses while `target` is recorded, from pairs of windows off and on; by `others` than the columns too."""
    settle, window = 1.0, 1.0 if bench.rounds == 1 else 2.0
    lost = defaultdict(list)
    windows = []
    for _ in range(bench.pairs):
        for recorder in [*bench.each(), *(other for other in others if not other.missing)]:
            off = time.monotonic_ns()
            time.sleep(window)
            off_end = time.monotonic_ns()
            run = recorder.attach(target.pid, hz, settle + window + 0.2)
            on = int((run.start + settle) * 1e9)
            if bench.ok(recorder, run, f"attach to deep at {hz} Hz"):
                windows.append((recorder.label, off, off_end, on, on + int(window * 1e9)))
    for label, off, off_end, on, on_end in windows:
        lost[label].append(100 * (1 - observed.throughput(on, on_end) / observed.throughput(off, off_end)))
    for recorder in bench.each():
        line.cells[recorder.label] = spread(lost[recorder.label], "{:.1f}")
    return lost


def bpf_time(bench):
    """Time that the BPF programs take of a sample, as the kernel measures it, on a warm deep stack and on a compiler at work."""
    lines = []
    for name, hz, goal in (("deep", HIGH, "≤ 4"), ("clang", LOW, "≤ 20")):
        line = Line(f"BPF time per sample at {hz} Hz, {name}, µs", goal)
        lines.append(line)
        if bench.missing_workload(name, line):
            continue
        micros = defaultdict(list)
        for _ in range(bench.rounds):
            for recorder in bench.each():
                if recorder.label != "perfd":
                    continue
                run = recorder.launch(bench.workloads[name].command(bench.seconds), hz, None)
                if bench.ok(recorder, run, f"launch of {name} at {hz} Hz"):
                    spent = recorder.cost()["bpf"]["time"]
                    micros[recorder.label].append(spent["sample_ns"] / spent["samples"] / 1e3)
        for label, values in micros.items():
            line.cells[label] = spread(values, "{:.1f}")
    return lines


FOLDED_WITH_INLINES = ("python", "node", "threads")
COMPARED_WITH_A_PEER = ("clang",)  # Its share changes from run to run, by more than the recorders differ.


def stacks(bench):
    """Whole stacks at 999 Hz, and how long after the target's end the folded file with inlined frames is there."""
    lines = []
    for name in ("deep", "threads", "python", "node", "clang", "postgres", "wide_stack"):
        line = Line(f"whole stacks at 999 Hz, {name}, %", "≥ 99.9")
        folded = Line(f"end of run → folded file with inlined frames, {name}, s", "≤ 0.15")
        lines += [line] + ([folded] if name in FOLDED_WITH_INLINES else [])
        if bench.missing_workload(name, line):
            continue
        roots = Roots(bench.workloads[name].executables)
        seconds = defaultdict(list)
        shares = defaultdict(list)
        for round_number in range(bench.rounds if name in FOLDED_WITH_INLINES + COMPARED_WITH_A_PEER else 1):
            for recorder in bench.each():
                if seconds[recorder.label] and seconds[recorder.label][-1] is None:
                    continue  # It ran into the limit once; that is answer enough.
                command = bench.workloads[name].command(bench.seconds)
                log = bench.scratch / "launched.log" if bench.workloads[name].reports else None
                run = recorder.launch(command, LOW, log)
                if not bench.ok(recorder, run, f"launch of {name} at 999 Hz"):
                    continue
                if round_number == 0 or name in COMPARED_WITH_A_PEER:
                    shares[recorder.label].append(whole(bench, recorder, roots, name))
                if name in FOLDED_WITH_INLINES and run.target_end:
                    after = time.monotonic()
                    if recorder.fold_with_inlines() is False:
                        seconds[recorder.label].append(None)
                    else:
                        seconds[recorder.label].append(run.end - run.target_end + time.monotonic() - after)
        for label, results in shares.items():
            percents, of_fitting, remarks = zip(*results)
            line.cells[label] = spread(list(percents), "{:.2f}")
            if percents != of_fitting:
                line.cells[label] += f" ({statistics.median(of_fitting):.2f} of those that fit)"
            line.cells[label] += "".join(dict.fromkeys(remarks))
        for label, values in seconds.items():
            limit = next((recorder.PERF_SCRIPT_LIMIT for recorder in bench.each() if hasattr(recorder, "PERF_SCRIPT_LIMIT")), 0)
            folded.cells[label] = f"> {limit}" if None in values else spread(values, "{:.2f}")
    return lines


def short_processes(bench):
    """Whole stacks of a shell's children that take 50 ms of CPU each, and the share that was walked in the kernel."""
    lines = []
    for name in ("short_deep", "short_wide"):
        line = Line(f"whole stacks at 4999 Hz, {name}, %")
        lines.append(line)
        if bench.missing_workload(name, line):
            continue
        roots = Roots(bench.workloads[name].executables)
        for recorder in bench.each():
            run = recorder.launch(bench.workloads[name].command(None), HIGH, None)
            if bench.ok(recorder, run, f"launch of {name} at 4999 Hz"):
                percent, _, remark = whole(bench, recorder, roots, name)
                walked = recorder.walked_in_kernel()
                line.cells[recorder.label] = f"{percent:.2f}" + (f" ({walked:.1f} walked in the kernel)" if walked else "") + remark
    return lines


def whole(bench, recorder, roots, name):
    """Percent of all stacks, percent of those that fit the copy, and what else must be said."""
    result = Completeness(recorder.stacks(), roots)
    remark = ""
    ledger = recorder.stack_ledger()
    if ledger is not None:
        # In exec and exit the kernel works for a process whose stack is gone; that is no silently broken stack.
        without = ledger.get("no_user_stack", 0)
        if result.broken > without:
            remark = f" **{result.broken - without} broken and not marked**"
            bench.failures.append(f"{recorder.label}, {name}: unmarked roots {dict(result.broken_roots.most_common(5))}")
        if result.unmarked != ledger.get("root", 0) + without:
            bench.failures.append(f"{recorder.label}, {name}: {result.unmarked} stacks without a mark, but the ledger says {ledger}")
    return result.percent, result.percent_of_fitting if result.too_short else result.percent, remark


def first_line(bench):
    """From the start of the recorder on a running target to its first folded or printed stack."""
    lines = []
    for name, goal in (("python", "≤ 0.35"), ("node", "≤ 0.35"), ("clang", "≤ 0.6")):
        line = Line(f"attach → first stack, {name}, s (peers: 0.2 s of samples, not counted)", goal)
        lines.append(line)
        if bench.missing_workload(name, line):
            continue
        seconds = defaultdict(list)
        for _ in range(bench.rounds):
            for recorder in bench.each():
                with Target(bench.workloads[name], bench.scratch) as target:
                    time.sleep(1.0)
                    seconds[recorder.label].append(recorder.until_first_line(target.pid))
        for label, values in seconds.items():
            line.cells[label] = spread(values, "{:.2f}")
    return lines


def got_of_expected(bench):
    """Samples got of those that the target's CPU time asks for, `deep` launched at 20 kHz."""
    line = Line("samples got ∕ expected at 20 kHz, deep", "≥ 0.985")
    if bench.missing_workload("deep", line):
        return [line]
    shares = defaultdict(list)
    for _ in range(bench.rounds):
        for recorder in bench.each():
            log = bench.scratch / "launched.log"
            run = recorder.launch(bench.workloads["deep"].command(bench.seconds), VERY_HIGH, log)
            if bench.ok(recorder, run, "launch of deep at 20 kHz"):
                shares[recorder.label].append(recorder.n_samples() / (run.target_log.cpu_seconds * VERY_HIGH))
    for recorder in bench.each():
        line.cells[recorder.label] = spread(shares[recorder.label], "{:.3f}")
    return [line]


def tables(bench):
    """Size of the unwind tables of clang and its libraries, and the time until the kernel has them; `cargo bench --bench tables`."""
    size = Line("unwind tables of clang's modules, bytes a row: perfd's copy, the kernel's as allocated", "≤ 6.5")
    ready = Line("all of clang's modules ready in the kernel, ms (CPU)", "≤ 400")
    if not any(recorder.label == "perfd" for recorder in bench.each()):
        return [size, ready]
    command = ["cargo", "bench", "--quiet", "--bench", "tables"]
    run = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    all_of = re.search(r"^ *\d+ +([\d.]+) +[\d.]+ +([\d.]+)  all$", run.stdout, re.MULTILINE)
    took = re.search(r"in the kernel in (\d+) ms \[(\d+), (\d+)\], (\d+) ms of CPU", run.stdout)
    if all_of and took:
        size.cells["perfd"] = f"{all_of[1]}, {all_of[2]}"
        ready.cells["perfd"] = f"{took[1]} [{took[2]}, {took[3]}] ({took[4]})"
    else:
        bench.failures.append(f"tables: {(run.stdout + run.stderr).strip().splitlines()[-1:]}")
        size.cells["perfd"] = ready.cells["perfd"] = "failed"
    return [size, ready]


ROWS = {
    "cost": cost_and_memory,
    "slowdown": slow_down,
    "bystander": bystander,
    "daemon": under_the_daemon,
    "bpf": bpf_time,
    "stacks": stacks,
    "short": short_processes,
    "first-line": first_line,
    "20khz": got_of_expected,
    "tables": tables,
}
