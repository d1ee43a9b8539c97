"""The workloads: how each is started, and what its log of work units says about a window of time."""

import glob
import os
import select
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path


# What postgres.sh runs beside PostgreSQL's own programs.
SHELL_PROGRAMS = "sh locale bash ls sort tail id rm sleep mktemp setpriv".split()


class Workload:
    """One program of benches/workloads: its command without the seconds, and the executables that it runs."""

    def __init__(self, name, command, available=True, takes_seconds=True, reports=True, also_runs=()):
        self.name, self.argv, self.takes_seconds, self.reports = name, command, takes_seconds, reports
        found = shutil.which(command[0])
        self.available = available and found is not None
        self.executables = [os.path.realpath(path) for path in map(shutil.which, [command[0], *also_runs]) if path]

    def command(self, cpu_seconds):
        return self.argv + ([str(cpu_seconds)] if self.takes_seconds else [])


def workloads(bin_dir):
    """All workloads by name."""
    at = lambda name: str(bin_dir / name)  # noqa: E731
    built = lambda name: (bin_dir / name).exists()  # noqa: E731
    cxx = shutil.which("clang++-14") or shutil.which("clang++") or "clang++"
    postgres = sorted(glob.glob("/usr/lib/postgresql/*/bin/*"))
    # The interpreter itself and not a version manager's shim, which would be sampled too.
    python = os.path.realpath(sys.executable)
    # Forty processes that take 50 ms of CPU each.
    loop = "for i in $(seq 40); do \"$0\" 0.05 > /dev/null; done"
    short = lambda name, program: Workload(  # noqa: E731
        name, ["sh", "-c", loop, at(program)], built(program), takes_seconds=False, reports=False, also_runs=[at(program), "seq"]
    )
    everything = [
        Workload("deep", [at("deep")], built("deep")),
        Workload("wide_stack", [at("wide_stack")], built("wide_stack")),
        short("short_deep", "deep"),
        short("short_wide", "wide_stack"),
        Workload("threads", [at("threads")], built("threads")),
        Workload("python", [python, at("python_work.py")]),
        # --perf-basic-prof: the map of JIT code that peers read; perfd gets the same target.
        Workload("node", ["node", "--perf-basic-prof", at("node_work.js")]),
        Workload("clang", [cxx, "-std=c++17", "-O2", "-c", at("large.cpp"), "-o", "/dev/null"], takes_seconds=False, reports=False),
        Workload("postgres", ["bash", at("postgres.sh")], bool(postgres), reports=False, also_runs=[*postgres, *SHELL_PROGRAMS]),
    ]
    return {workload.name: workload for workload in everything}


class Target:
    """A running workload that was started by the harness itself."""

    def __init__(self, workload, scratch):
        scratch.mkdir(exist_ok=True)
        self.log = scratch / f"{workload.name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(workload.command(1e9), stdout=log, stderr=subprocess.DEVNULL, cwd=scratch)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def throughput(self, start_ns, end_ns):
        return Log(self.log).throughput(start_ns, end_ns)


class Log:
    """What a workload printed: `pid PID`, then lines `UNITS CPU_NS MONOTONIC_NS`."""

    def __init__(self, path):
        lines = Path(path).read_text(errors="replace").splitlines()
        self.pid = next((int(line.split()[1]) for line in lines if line.startswith("pid ")), None)
        rows = (line.split() for line in lines)
        self.rows = [tuple(map(float, row)) for row in rows if len(row) == 3]

    def throughput(self, start_ns, end_ns):
        """Work units per CPU second between two moments of the monotonic clock."""
        inside = [row for row in self.rows if start_ns <= row[2] <= end_ns]
        (units, cpu_ns, _), (last_units, last_cpu_ns, _) = inside[0], inside[-1]
        return (last_units - units) / (last_cpu_ns - cpu_ns) * 1e9

    @property
    def cpu_seconds(self):
        return self.rows[-1][1] / 1e9


def wait_for_end(log, recorder, timeout=120):
    """The monotonic time at which the target, known from its log, has ended; the recorder may still be at work."""
    deadline = time.monotonic() + timeout
    while (pid := Log(log).pid if log.exists() else None) is None:
        if ended(recorder.pid) or time.monotonic() > deadline:
            return None
        time.sleep(0.005)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        ready, _, _ = select.select([pidfd], [], [], timeout)
        return time.monotonic() if ready else None
    finally:
        os.close(pidfd)


def ended(pid):
    """Whether a child has ended; it is not reaped, since its rusage is wanted later."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None
