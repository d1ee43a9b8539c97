"""The table as Markdown, with the machine it was measured on."""

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

BEGIN, END = "<!-- side_by_side: begin -->", "<!-- side_by_side: end -->"


class Machine:
    """What a figure depends on beside the programs."""

    def __init__(self, versions):
        self.versions = versions
        self.load = os.getloadavg()[0]
        self.minutes = 0.0

    def describe(self):
        cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        pmu = "with" if Path("/sys/bus/event_source/devices/cpu").exists() else "without"
        rate = Path("/proc/sys/kernel/perf_event_max_sample_rate").read_text().strip()
        return (
            f"{os.cpu_count()} × {cpu[1] if cpu else platform.machine()}, {pmu} PMU, Linux {platform.release()}, "
            f"perf_event_max_sample_rate {rate}, load {self.load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end"
        )


def machine(recorders):
    return Machine({recorder.program: version(recorder.program) for recorder in recorders if not recorder.missing})


def version(program):
    try:
        return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip().splitlines()[0]
    except (OSError, IndexError):
        return "unknown version"


def page(recorders, lines, machine, failures, args):
    labels = [recorder.label for recorder in recorders]
    missing = {recorder.label: recorder.missing for recorder in recorders if recorder.missing}
    command = "benches/side_by_side.sh" + (" --quick" if args.quick else "") + "".join(f" --only {row}" for row in args.only or [])
    out = [
        BEGIN,
        f"{datetime.now(timezone.utc):%Y-%m-%d}, `{command}`, {machine.minutes:.0f} minutes.  ",
        f"{machine.describe()}.  ",
        "; ".join(machine.versions.values()) + ".",
        "",
        "| | goal | " + " | ".join(labels) + " |",
        "| --- | --- |" + " --- |" * len(labels),
    ]
    for line in lines:
        cells = [missing.get(label) and "not installed" or line.cells.get(label, "–") for label in labels]
        out.append(f"| {line.title} | {line.goal} | " + " | ".join(cells) + " |")
    out += ["", "Median [least, most] where there was more than one round. Settings:", ""]
    out += [f"- {recorder.label}: {missing.get(recorder.label, recorder.settings)}" for recorder in recorders]
    if failures:
        out += ["", "What went wrong in this run:", ""] + [f"- {failure}" for failure in dict.fromkeys(failures)]
    return "\n".join(out + [END])


def write(path, page, begin=BEGIN, end=END):
    """Puts the table between the markers of the page, or makes the page."""
    text = path.read_text() if path.exists() else f"# What perfd costs, and what it gets\n\n{begin}\n{end}\n"
    path.write_text(re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: page, text, flags=re.S))
