"""The command line of the side-by-side run of symbolizers; see benches/README.md."""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from harness import table

from . import page
from .measure import run
from .peers import Perfd, peers
from .rounds import Rounds
from .subjects import python_library, rust_binary

TOP = Path(__file__).resolve().parents[2]
BUILT = TOP / "target/side_by_side"

# In the order of page.rows.
GOALS_RUST = ["≥ 40 000", "≥ 500 000", "≤ 150", "≤ 64", "≤ 60", ""]
GOALS_PYTHON = ["≥ 100 000", "", "", "", "", ""]


def arguments():
    parser = argparse.ArgumentParser(prog="symbolize.sh", description=__import__("symbolizers").__doc__)
    parser.add_argument("--quick", action="store_true", help="one round: to see that it works")
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn (default: 5)")
    parser.add_argument("--addresses", type=int, default=100_000, help="how many are asked (default: 100000)")
    parser.add_argument("--perfd", type=Path, default=TOP / "target/release/perfd", help="the perfd to measure")
    parser.add_argument("--peers-only", action="store_true", help="leave perfd out")
    parser.add_argument("--peer", action="append", metavar="LABEL", help="measure only this one (perfd, binutils, llvm, gimli, blaze)")
    parser.add_argument("--peers", type=Path, default=BUILT / "peers/bin", metavar="DIRECTORY", help="where peers are looked for before the PATH")
    parser.add_argument("--binary", type=Path, help="the Rust binary (default: samply with full debug information, which is built)")
    parser.add_argument("--output", type=Path, help="page to write the table into (default: docs/PERFORMANCE.md after a whole run)")
    return parser.parse_args()


def main():
    args = arguments()
    symbolizers = [] if args.peers_only else [Perfd(str(args.perfd.absolute()))]
    symbolizers += peers(args.peers.absolute())
    symbolizers = [symbolizer for symbolizer in symbolizers if not args.peer or symbolizer.label in args.peer]
    present = [symbolizer for symbolizer in symbolizers if not symbolizer.missing]
    binary = args.binary or rust_binary(BUILT / "samply")
    files = [(binary.name, binary, GOALS_RUST)]
    library = python_library()
    failures = [] if library else ["no libpython with debug information (apt-get install python3-dbg)"]
    files += [("libpython", library, GOALS_PYTHON)] if library else []
    machine = table.Machine({symbolizer.label: symbolizer.version() for symbolizer in present})
    scratch = Path(tempfile.mkdtemp(prefix="symbolize."))
    try:
        started = time.monotonic()
        lines = []
        for title, file, goals in files:
            rounds = Rounds(file, present, scratch, failures)
            print(f"{title}: each once, not counted …", flush=True)
            rounds.check(args.addresses)
            n_rounds = 1 if args.quick else args.rounds
            for number in range(n_rounds):
                print(f"{title}: round {number + 1} of {n_rounds} …", flush=True)
                rounds.many(args.addresses)
                for seed in range(3):
                    rounds.one(seed=100 + 3 * number + seed)
            lines += page.rows(title, rounds, goals)
        nothing = scratch / "nothing"
        nothing.touch()
        # The peak of a process begins with that of the one that started it.
        floor = run(["true"], nothing).megabytes
        machine.minutes = (time.monotonic() - started) / 60
        whole_run = not (args.quick or args.peers_only or args.peer or args.binary)
        flags = [flag for flag, given in [("--quick", args.quick), ("--peers-only", args.peers_only)] if given]
        text = page.page(symbolizers, lines, machine, failures, " ".join(["benches/symbolize.sh", *flags]), floor)
        print(text)
        output = args.output or (TOP / "docs/PERFORMANCE.md" if whole_run else None)
        if output:
            table.write(output, text, page.BEGIN, page.END)
            print(f"written: {output}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


main()
