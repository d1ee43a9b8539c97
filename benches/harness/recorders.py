"""The profilers: how each launches or attaches, and how its output becomes folded stacks.

What a run costs is wait4's rusage of the recorder, its own children included. Peers run with their best known
settings beside their defaults; samply refuses to run where there is no PMU and perf_event_paranoid is above 1, even
as root, so it gets a private mount namespace in which that file says 1.
"""

import gzip
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from . import folded
from .memory import Peak
from .targets import Log, wait_for_end


# What a peer that cannot stream records before its stacks are asked for, in seconds; taken off its time.
PEER_SAMPLES = 0.2


class Run:
    """A finished recording."""

    def __init__(self, usage, start, end, peak, status):
        self.cpu = usage.ru_utime + usage.ru_stime
        self.start, self.end, self.peak, self.status = start, end, peak, status
        self.target_end = None
        self.target_log = None


class Recorder:
    """What all recorders share. `label` heads the column; `settings` is shown below the table."""

    label = settings = program = None

    def __init__(self, scratch):
        self.scratch = scratch
        self.out = scratch / (self.label.replace(" ", "_") + self.ending)

    @property
    def missing(self):
        return None if shutil.which(self.program) else f"{self.program} is not installed"

    def attach(self, pid, hz, seconds):
        """Records a running process."""
        return self._run(self.attach_command(pid, hz, seconds), seconds + 60, interrupt_after=self.interrupt_after(seconds))

    def interrupt_after(self, seconds):
        """When to send SIGINT, for a recorder that knows no duration."""
        return None

    def stack_ledger(self):
        """What the recorder itself says became of its stacks, if it says."""
        return None

    def walked_in_kernel(self):
        """Percent of samples that were walked in the kernel, if it can be said."""
        return None

    def launch(self, command, hz, log):
        """Starts a command under the recorder; the target's standard output goes to `log`."""
        return self._run(self.launch_command(command, hz), 180, log)

    def _run(self, command, timeout, log=None, interrupt_after=None):
        self.clean()
        errors = open(self.scratch / f"{self.out.name}.stderr", "wb")
        stdout = open(log, "wb") if log else subprocess.DEVNULL
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=stdout, stderr=errors, cwd=self.scratch)
        peak = Peak(process.pid)
        target_end = wait_for_end(log, process) if log else None
        usage = None
        while usage is None:
            pid, status, rusage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                usage = rusage
            elif time.monotonic() - start > timeout:
                # Not process.send_signal, which may reap it and with it the rusage.
                os.kill(process.pid, signal.SIGKILL)
                time.sleep(0.1)
            elif interrupt_after and time.monotonic() - start > interrupt_after:
                # Once: a second SIGINT would end samply before it writes.
                interrupt_after = None
                os.kill(process.pid, signal.SIGINT)
            else:
                time.sleep(0.002)
        process.returncode = os.waitstatus_to_exitcode(status)
        run = Run(usage, start, time.monotonic(), peak.stop(), process.returncode)
        run.target_end = target_end
        run.target_log = Log(log) if log else None
        return run

    def _until_output(self, command):
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.scratch)
        ready, _, _ = select.select([process.stdout], [], [], 30)
        elapsed = time.monotonic() - start
        line = process.stdout.readline() if ready else b""
        process.stdout.close()
        process.terminate()
        process.wait()
        return elapsed if line.strip() else None

    def clean(self):
        for path in self.scratch.glob(self.out.name + "*"):
            path.unlink()

    def why_not(self):
        """The recorder's own last words, for the report of a failure."""
        text = (self.scratch / f"{self.out.name}.stderr").read_text(errors="replace").strip()
        return text.splitlines()[-1] if text else "no message"


class Perfd(Recorder):
    ending = ".folded"

    def __init__(self, scratch, program, backend, label):
        self.program, self.backend, self.label = program, backend, label
        self.settings = f"`--backend {backend}`, else default settings"
        super().__init__(scratch)
        self.ledger = self.out.with_name(self.out.name + ".json")

    def flags(self, hz):
        return ["-q", "--backend", self.backend, "-e", "cpu-clock", "-F", str(hz), "--unit", "samples", "-o", str(self.out), "-o", str(self.ledger)]

    def attach_command(self, pid, hz, seconds):
        return [self.program, "attach", *self.flags(hz), "-d", str(seconds), str(pid)]

    def launch_command(self, command, hz):
        return [self.program, "record", *self.flags(hz), "--", *command]

    def n_samples(self):
        return sum(folded.read(self.out).values())

    def stacks(self):
        return folded.read(self.out)

    def cost(self):
        """What perfd says it took."""
        return json.loads(self.ledger.read_text())["cost"]

    def stack_ledger(self):
        return json.loads(self.ledger.read_text())["ledger"]["stacks"]["ended"]

    def walked_in_kernel(self):
        event = json.loads(self.ledger.read_text())["ledger"]["events"][0]
        return 100 * event["kernel_walk"]["walked"] / max(1, event["delivered"]) if event.get("kernel_walk") else None

    def fold_with_inlines(self):
        """Nothing to do: the folded file is there when the recorder ends."""

    def until_first_line(self, pid):
        """Seconds from the start of the recorder to its first stack; None if none came."""
        return self._until_output([self.program, "attach", "-q", "--backend", self.backend, "-e", "cpu-clock", "--interval", "100ms", "-d", "5", str(pid)])


class PerfdDaemon(Perfd):
    """A target of a daemon that runs already: attached to and detached by `perfd ctl`. What the daemon itself takes is no part of `cpu`."""

    def __init__(self, scratch, program):
        super().__init__(scratch, program, "bpf", "perfd daemon")
        self.socket = scratch / "control.sock"

    def __enter__(self):
        state = self.scratch / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        command = [self.program, "daemon", "--socket", self.socket, "--state", state, "--config", "/dev/null"]
        self.daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not self.socket.exists():
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.daemon.terminate()
        self.daemon.wait()

    def attach_command(self, pid, hz, seconds):
        ctl = f"{self.program} ctl --socket {self.socket}"
        attached = f"{ctl} attach -e cpu-clock -F {hz} --name bench -o {self.out} {pid}"
        return ["sh", "-ec", f"{attached}; sleep {seconds}; {ctl} detach bench"]


class Perf(Recorder):
    ending = ".data"
    program = "perf"
    PERF_SCRIPT_LIMIT = 60

    def __init__(self, scratch, stack_bytes, label):
        self.label, self.stack_bytes = label, stack_bytes
        self.settings = f"`perf record -e cpu-clock --call-graph dwarf,{stack_bytes}`"
        super().__init__(scratch)

    def flags(self, hz):
        return ["-q", "-e", "cpu-clock", "-F", str(hz), "--call-graph", f"dwarf,{self.stack_bytes}", "-o", str(self.out)]

    def attach_command(self, pid, hz, seconds):
        return ["perf", "record", *self.flags(hz), "-p", str(pid), "--", "sleep", str(seconds)]

    def launch_command(self, command, hz):
        return ["perf", "record", *self.flags(hz), "--", *command]

    def n_samples(self):
        script = subprocess.run(
            ["perf", "script", "-i", str(self.out), "-F", "period"], capture_output=True, text=True, check=False
        )
        return len(script.stdout.split())

    def script_command(self, inline):
        return ["perf", "script", "-i", str(self.out), "-F", "comm,pid,tid,time,ip,sym,dso", inline]

    def stacks(self):
        script = subprocess.Popen(
            self.script_command("--no-inline"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        )
        stacks, comm, frames = Counter(), "", []
        for line in script.stdout:
            if not line.strip():
                stacks[(comm, *reversed(frames))] += 1
                comm, frames = "", []
            elif not line[0].isspace():
                comm = line.split()[0]
            else:
                frames.append(perf_frame(line))
        script.wait()
        return stacks

    def fold_with_inlines(self):
        """perf script with inlined frames into inferno; False if it does not end in the time it is given."""
        collapse = shutil.which("inferno-collapse-perf")
        pipeline = " ".join(self.script_command("--inline")) + " 2>/dev/null" + (f" | {collapse} 2>/dev/null" if collapse else "")
        try:
            with open(self.scratch / "perf.folded", "wb") as out:
                process = subprocess.Popen(["sh", "-c", pipeline], stdout=out, start_new_session=True)
                process.wait(self.PERF_SCRIPT_LIMIT)
        except subprocess.TimeoutExpired:
            # The session that was started three lines above: perf, its addr2line, the collapser.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
        return True

    def until_first_line(self, pid):
        self.clean()
        record = " ".join(["perf", "record", *self.flags(997), "-p", str(pid), "--", "sleep", str(PEER_SAMPLES)])
        script = " ".join(self.script_command("--no-inline"))
        elapsed = self._until_output(["sh", "-c", f"{record} >/dev/null 2>&1; exec {script}"])
        return elapsed and elapsed - PEER_SAMPLES


class PerfWithoutStacks(Recorder):
    """Samples that carry next to nothing: what is left is the cost of the timer and of the interrupt."""

    label, ending = "perf, no stacks", ".data"
    program = "perf"
    settings = "perf record -e cpu-clock"

    def attach_command(self, pid, hz, seconds):
        return ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(hz), "-o", str(self.out), "-p", str(pid), "--", "sleep", str(seconds)]


def perf_frame(line):
    """The name in one line of `perf script`: `ADDRESS SYMBOL (MODULE)`."""
    address, _, rest = line.strip().partition(" ")
    name, _, module = rest.rpartition(" (")
    module = module.rstrip(")")
    if module.startswith("[kernel") or module.endswith(".ko"):
        return name + folded.KERNEL_SUFFIX
    return f"{Path(module).name}+0x{address}" if name == "[unknown]" else name


class Samply(Recorder):
    label, ending = "samply", ".json.gz"
    settings = "`samply record --unstable-presymbolicate` (32 KiB of stack, unwound while it records)"
    program = "samply"

    def __init__(self, scratch):
        super().__init__(scratch)
        self.sidecar = scratch / "samply.json.syms.json"
        self.paranoid = scratch / "paranoid"
        self.paranoid.write_text("1\n")

    def clean(self):
        super().clean()
        self.sidecar.unlink(missing_ok=True)

    def wrap(self, command):
        if int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) <= 1 or os.geteuid() != 0:
            return command
        mount = f"mount --bind {self.paranoid} /proc/sys/kernel/perf_event_paranoid"
        return ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]

    def flags(self, hz):
        return ["--save-only", "--no-open", "--unstable-presymbolicate", "-r", str(hz), "-o", str(self.out)]

    def attach_command(self, pid, hz, seconds):
        return self.wrap(["samply", "record", *self.flags(hz), "-p", str(pid)])

    def interrupt_after(self, seconds):
        # Its --duration does not end an attached recording.
        return seconds

    def launch_command(self, command, hz):
        return self.wrap(["samply", "record", *self.flags(hz), "--", *command])

    def until_first_line(self, pid):
        run = self.attach(pid, 997, PEER_SAMPLES)
        return run.end - run.start - PEER_SAMPLES if run.status == 0 and self.sidecar.exists() else None

    def n_samples(self):
        return sum(self.stacks(named=False).values())

    def fold_with_inlines(self):
        """Profile and symbols are there when it ends; turning them into folded lines is not counted."""

    def stacks(self, named=True):
        profile = json.loads(gzip.decompress(self.out.read_bytes()))
        symbols = Symbols(json.loads(self.sidecar.read_text())) if named and self.sidecar.exists() else None
        stacks = Counter()
        for thread in profile["threads"]:
            samples, table = thread["samples"], thread["stackTable"]
            names = frame_names(profile, thread, symbols)
            paths = [()] * table["length"]
            for at in range(table["length"]):
                prefix = table["prefix"][at]
                paths[at] = (paths[prefix] if prefix is not None else ()) + (names[table["frame"][at]],)
            for stack in samples["stack"]:
                stacks[(thread["name"], *(paths[stack] if stack is not None else ("[empty]",)))] += 1
        return stacks



class Symbols:
    """samply's sidecar: symbols by library and relative address."""

    def __init__(self, sidecar):
        strings = sidecar["string_table"]
        self.tables = {
            library["debug_name"]: sorted((row["rva"], row["size"] or 1, strings[row["symbol"]]) for row in library["symbol_table"])
            for library in sidecar["data"]
        }

    def name(self, library, address):
        for start, size, name in self.tables.get(library, ()):
            if start <= address < start + size:
                # `fun_ADDRESS` is a name that samply makes up from unwind tables.
                return None if name.startswith("fun_") else name
        return None


def frame_names(profile, thread, symbols):
    frames, functions, strings = thread["frameTable"], thread["funcTable"], thread["stringArray"]
    names = []
    for at in range(frames["length"]):
        function = frames["func"][at]
        name = strings[functions["name"][function]]
        resource = functions["resource"][function]
        if resource is not None and resource >= 0 and symbols:
            library = profile["libs"][thread["resourceTable"]["lib"][resource]]
            found = symbols.name(library["debugName"], frames["address"][at])
            name = found or f"{library['name']}+{frames['address'][at]:#x}"
        names.append(name)
    kernel = next((at for at, category in enumerate(profile["meta"]["categories"]) if category["name"] == "Kernel"), None)
    return [
        name + folded.KERNEL_SUFFIX if frames["category"][at] == kernel else name for at, name in enumerate(names)
    ]


def recorders(scratch, perfd):
    """All of them, missing or not."""
    return [
        Perfd(scratch, perfd, "bpf", "perfd"),
        Perfd(scratch, perfd, "perf", "perfd copies"),
        Perf(scratch, 8192, "perf"),
        Perf(scratch, 65528, "perf 64k"),
        Samply(scratch),
    ]
