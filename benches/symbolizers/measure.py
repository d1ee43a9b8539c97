"""Runs one symbolizer: its CPU time, its peak memory, and the time that it takes."""

import os
import subprocess
import sys
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")


class Usage:
    """What a run took."""

    def __init__(self, cpu_seconds, peak_kib, seconds):
        self.cpu, self.seconds = cpu_seconds, seconds
        # Resident at its peak, file pages included; of the children that it waited for, if there is a larger one, that one's.
        self.megabytes = peak_kib * 1024 / 1e6


class Failed(Exception):
    """A symbolizer that ended with an error."""


def environment():
    # Nobody is to look for files in the network.
    return {name: value for name, value in os.environ.items() if not name.startswith("DEBUGINFOD")}


def run(command, questions):
    """Runs it with the file `questions` as standard input, what it says being thrown away."""
    launcher = [sys.executable, "-I", "-S", LAUNCHER, questions, *command]
    said = subprocess.run(launcher, capture_output=True, text=True, check=True, env=environment()).stdout
    code, cpu_seconds, peak_kib, seconds = said.split()
    if code != "0":
        raise Failed(f"`{' '.join(command)[:200]}` ended with {code}")
    return Usage(float(cpu_seconds), int(peak_kib), float(seconds))


def answers(command, questions, is_first_of_answer):
    """(answers, lines that are not the first of one), read as they come: they are 100 MB."""
    n_answers = n_others = 0
    with open(questions, "rb") as stdin:
        child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment())
        with child.stdout as lines:
            for line in lines:
                if is_first_of_answer(line):
                    n_answers += 1
                elif line.strip():
                    n_others += 1
        if child.wait() != 0:
            raise Failed(f"`{' '.join(command)[:200]}` ended with {child.returncode}")
    return n_answers, n_others
