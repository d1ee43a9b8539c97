"""The symbolizers: how each is found, and how it is asked."""

import re
import shutil
import subprocess
from pathlib import Path

# The flags that all but one have: addresses, functions, inlined ones, demangled.
FLAGS = ["-a", "-f", "-i", "-C"]


class Peer:
    """One symbolizer, asked by a file of addresses on standard input. `missing` says why it is left out, if it is."""

    def __init__(self, label, program, how_to_have, n_most=None):
        self.label, self.program, self.n_most = label, program, n_most
        self.missing = None if program else f"not found ({how_to_have})"
        self.caches = False

    def command(self, file, _cache, _questions):
        return [self.program, *FLAGS, "-e", str(file)]

    def is_first_of_answer(self, line):
        return line.startswith(b"0x")

    def frames(self, _answers, others):
        """A line with the function and one with the place."""
        return others // 2

    def version(self):
        lines = output([self.program, "--version"]).splitlines()
        return next((line.strip() for line in lines if re.search(r"\d\.\d", line)), "unknown version")

    def settings(self):
        return f"`{Path(self.program).name} {' '.join(FLAGS)}`" + (f", {self.n_most} addresses" if self.n_most else "")


class Blazecli(Peer):
    """Takes addresses as arguments, and has names, inlined functions and places by default."""

    def command(self, file, _cache, questions):
        return [self.program, "symbolize", "elf", "--path", str(file), *questions.read_text().split()]

    def frames(self, answers, others):
        return answers + others

    def settings(self):
        return "`blazecli symbolize elf`, addresses as arguments"


class Perfd(Peer):
    """The one with a cache on disk."""

    def __init__(self, program):
        super().__init__("perfd", program, "")
        self.caches = True

    def command(self, file, cache, _questions):
        return [self.program, "symbolize", *FLAGS, "--cache-dir", str(cache), "-e", str(file)]

    def settings(self):
        return f"`perfd symbolize {' '.join(FLAGS)} --cache-dir DIR`; first: DIR is empty; again: the other addresses, with what the first time left there"


def output(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def found(name, folder, text=""):
    """The program, in the folder before the PATH, if its version has `text` in it: two go by the name of addr2line."""
    for program in (shutil.which(name, path=str(folder)), shutil.which(name)):
        if program and text in output([program, "--version"]):
            return program
    return None


def peers(folder):
    """All but perfd; `folder` may hold some of them."""
    gnu = found("addr2line", folder, "GNU")
    gimli = found("addr2line", folder, "addr2line 0.")
    llvm = found("llvm-addr2line-14", folder) or found("llvm-addr2line", folder)
    return [
        Peer("binutils", gnu, "apt-get install binutils", n_most=2000),
        Peer("llvm", llvm, "apt-get install llvm-14"),
        Peer("gimli", gimli, "cargo install addr2line --version 0.26.0 --features bin"),
        Blazecli("blaze", found("blazecli", folder), "cargo install blazecli"),
        Peer("wholesym", found("wholesym-addr2line", folder), "cargo install --path benches/wholesym"),
    ]
