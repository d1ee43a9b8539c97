"""Stacks as lists of names, root first, and whether they are whole.

A stack is whole if its outermost user frame is one of the loader's or clone's, by name. Where a recorder has no name
for it (`module+0xoffset`: a stripped file), the address is looked up in the ranges of those functions, which come from
the file's entry point, its symbol tables and its debug file, so that the judgement does not rest on the recorder.
"""

import re
import subprocess
from collections import Counter
from pathlib import Path

# EntryPoint is samply's name for _start of a stripped file.
ROOT_NAMES = re.compile(r"_*(EntryPoint|start|libc_start_main\w*|libc_start_call_main\w*|clone\d*|start_thread|dl_start(_user)?)$")
UNNAMED = re.compile(r"(?P<module>.+)\+0x(?P<offset>[0-9a-f]+)$")
TRUNCATED = re.compile(r"\[truncated")
KERNEL_SUFFIX = "_[k]"


def read(path):
    """The stacks of a folded file: Counter of tuples (comm, root, …, leaf)."""
    stacks = Counter()
    for line in Path(path).read_text(errors="replace").splitlines():
        stack, _, weight = line.rpartition(" ")
        stacks[tuple(stack.split(";"))] += int(weight)
    return stacks


class Completeness:
    """Counts of user stacks: whole, marked as truncated, and silently broken."""

    def __init__(self, stacks, roots):
        self.whole = self.marked = self.too_short = self.broken = self.in_kernel = 0
        self.broken_roots = Counter()
        for stack, n in stacks.items():
            user = [frame for frame in stack[1:] if not frame.endswith(KERNEL_SUFFIX)]
            if not user:
                self.in_kernel += n
            elif TRUNCATED.match(user[0]):
                self.marked += n
                self.too_short += n if "copy too short" in user[0] else 0
            elif roots.is_root(user[0]):
                self.whole += n
            else:
                self.broken += n
                self.broken_roots[user[0]] += n

    @property
    def total(self):
        return self.whole + self.marked + self.broken

    @property
    def unmarked(self):
        return self.whole + self.broken + self.in_kernel

    @property
    def percent(self):
        return 100 * self.whole / max(1, self.total)

    @property
    def percent_of_fitting(self):
        return 100 * self.whole / max(1, self.total - self.too_short)


class Roots:
    """Where the outermost functions lie in the files of one target."""

    def __init__(self, executables):
        self.ranges = {}
        for path in {*executables, *(library for executable in executables for library in libraries(executable))}:
            self.ranges[Path(path).name] = root_ranges(path)
            self.ranges[Path(path).resolve().name] = self.ranges[Path(path).name]

    def is_root(self, frame):
        frame = re.sub(r"_\[[ij]\]$", "", frame).split("@")[0]
        if ROOT_NAMES.match(frame):
            return True
        unnamed = UNNAMED.match(frame)
        if not unnamed:
            return False
        offset = int(unnamed["offset"], 16)
        module = unnamed["module"].strip("[]")
        return any(start <= offset < end for start, end in self.ranges.get(Path(module).name, ()))


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def libraries(executable):
    return re.findall(r"(/\S+) \(0x", output("ldd", executable))


def root_ranges(path):
    """Address ranges of the root functions of a file, as linked addresses and as file offsets: recorders differ."""
    segments = [
        tuple(int(field, 16) for field in row)
        for row in re.findall(r"LOAD\s+0x(\w+) 0x(\w+) 0x\w+ 0x(\w+)", output("readelf", "-lW", path))
    ]
    linked = linked_root_ranges(path)
    shifted = [
        (start - address + offset, end - address + offset)
        for start, end in linked
        for offset, address, size in segments
        if address <= start < address + size
    ]
    return linked + shifted


def linked_root_ranges(path):
    entry = re.search(r"Entry point address:\s+0x([0-9a-f]+)", output("readelf", "-hW", path))
    ranges = []
    if entry and int(entry[1], 16):
        # _start of x86-64 and aarch64 is shorter than this.
        ranges.append((int(entry[1], 16), int(entry[1], 16) + 0x40))
    build_id = re.search(r"Build ID: ([0-9a-f]+)", output("readelf", "-nW", path))
    debug = build_id and Path(f"/usr/lib/debug/.build-id/{build_id[1][:2]}/{build_id[1][2:]}.debug")
    for file in [path] + ([str(debug)] if debug and debug.exists() else []):
        for table in ([], ["-D"]):
            for line in output("nm", "-S", *table, file).splitlines():
                fields = line.split()
                if len(fields) == 4 and ROOT_NAMES.match(fields[3].split("@")[0]):
                    start, size = int(fields[0], 16), int(fields[1], 16)
                    ranges.append((start, start + size + 1))
    return ranges
