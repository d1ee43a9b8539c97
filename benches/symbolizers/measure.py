"""Runs one symbolizer: its CPU time, its peak memory, and the time that it takes."""

import os
import subprocess
import time


class Usage:
    """What a run took."""

    def __init__(self, rusage, seconds):
        self.cpu = rusage.ru_utime + rusage.ru_stime
        # Resident at its peak, file pages included; of the children that it waited for, if there is a larger one, that one's.
        self.megabytes = rusage.ru_maxrss * 1024 / 1e6
        self.seconds = seconds


class Failed(Exception):
    """A symbolizer that ended with an error."""


def environment():
    # Nobody is to look for files in the network.
    return {name: value for name, value in os.environ.items() if not name.startswith("DEBUGINFOD")}


def run(command, questions):
    """Runs it with the file `questions` as standard input, what it says being thrown away."""
    with open(questions, "rb") as stdin:
        started = time.perf_counter()
        child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        _, status, rusage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
    # It is waited for: that subprocess does not try to.
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise Failed(f"`{' '.join(command)[:200]}` ended with {child.returncode}")
    return Usage(rusage, seconds)


def answers(command, questions, is_first_of_answer):
    """(answers, lines that are not the first of one), read as they come, so that this process, whose memory its children start with, stays small."""
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
