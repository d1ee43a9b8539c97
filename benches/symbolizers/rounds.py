"""Rounds in which the symbolizers take turns."""

import shutil
import statistics

from .measure import Failed, answers, run
from .questions import addresses

# The seeds of the addresses that are asked first, and of those that are asked again.
FIRST, AGAIN = 1, 2


class Results:
    """What one symbolizer took for one file, a figure for each round."""

    def __init__(self):
        self.per_second = {FIRST: [], AGAIN: []}
        self.megabytes = {FIRST: [], AGAIN: []}
        self.milliseconds_cold = []
        self.frames = None


class Rounds:
    """Asks all symbolizers about one file."""

    def __init__(self, file, symbolizers, scratch, failures):
        self.file, self.scratch, self.failures = file, scratch, failures
        self.cache = scratch / "cache"
        self.results = {symbolizer: Results() for symbolizer in symbolizers}

    def check(self, n):
        """One run of each that does not count: it brings the file into memory, and each question has to be answered."""

        def step(symbolizer, results):
            n_asked, questions = self.questions(symbolizer, n, FIRST)
            command = symbolizer.command(self.file, self.cache, questions)
            n_answers, n_others = answers(command, questions, symbolizer.is_first_of_answer)
            results.frames = symbolizer.frames(n_answers, n_others) / n_asked
            if n_answers != n_asked:
                raise Failed(f"{n_answers} answers to {n_asked} questions about {self.file.name}")

        self.turns(step)

    def many(self, n):
        """The first addresses without a cache, and others with what that left."""

        def step(symbolizer, results):
            for seed in (FIRST, AGAIN) if symbolizer.caches else (FIRST,):
                n_asked, questions = self.questions(symbolizer, n, seed)
                usage = run(symbolizer.command(self.file, self.cache, questions), questions)
                results.per_second[seed].append(n_asked / usage.cpu)
                results.megabytes[seed].append(usage.megabytes)

        self.turns(step)

    def one(self, seed):
        """One address without a cache."""

        def step(symbolizer, results):
            _, questions = self.questions(symbolizer, 1, seed)
            usage = run(symbolizer.command(self.file, self.cache, questions), questions)
            results.milliseconds_cold.append(usage.seconds * 1000)

        self.turns(step)

    def turns(self, step):
        for symbolizer, results in self.results.items():
            shutil.rmtree(self.cache, ignore_errors=True)
            self.cache.mkdir()
            try:
                step(symbolizer, results)
            except Failed as failure:
                self.failures.append(f"{symbolizer.label}: {failure}")

    def questions(self, symbolizer, n, seed):
        """How many, and the file that they are in."""
        n = min(n, symbolizer.n_most or n)
        path = self.scratch / f"{self.file.name}.{n}.{seed}"
        if not path.exists():
            path.write_text("".join(f"{address:#x}\n" for address in addresses(self.file, n, seed)))
        return n, path


def median(figures, form):
    """With the least and the most, where there is more than one."""
    if not figures:
        return "–"
    middle = form(statistics.median(figures))
    return middle if len(figures) == 1 else f"{middle} [{form(min(figures))}, {form(max(figures))}]"
