"""The command line of the side-by-side run; see benches/README.md."""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from . import table
from .recorders import recorders
from .rows import ROWS, Bench, say
from .targets import workloads

TOP = Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser(prog="side_by_side.sh", description=__import__("harness").__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, short windows: to see that it works")
    parser.add_argument("--only", action="append", choices=list(ROWS), metavar="ROW", help=f"one of {', '.join(ROWS)}; may be given again")
    parser.add_argument("--perfd", type=Path, default=TOP / "target/release/perfd", help="the perfd to measure")
    parser.add_argument("--recorder", action="append", metavar="LABEL", help="measure only this recorder (perfd, 'perfd copies', perf, 'perf 64k', samply)")
    parser.add_argument("--output", type=Path, help="page to write the table into (default: docs/PERFORMANCE.md after a whole run)")
    return parser.parse_args()


def main():
    args = arguments()
    bin_dir = TOP / "target/side_by_side/bin"
    subprocess.run([TOP / "benches/workloads/build.sh", bin_dir], check=True)
    scratch = Path(tempfile.mkdtemp(prefix="side_by_side."))
    try:
        everything = [r for r in recorders(scratch, str(args.perfd.absolute())) if not args.recorder or r.label in args.recorder]
        for recorder in everything:
            if recorder.missing:
                say(f"{recorder.label}: left out: {recorder.missing}")
        bench = Bench(everything, workloads(bin_dir), scratch, args.quick)
        machine = table.machine(everything)
        started = time.monotonic()
        lines = []
        for name in args.only or ROWS:
            say(f"row {name} …")
            row = ROWS[name](bench)
            lines += row
            for line in row:
                say(f"  {line.title}: {json.dumps(line.cells, ensure_ascii=False)}")
        machine.minutes = (time.monotonic() - started) / 60
        page = table.page(everything, lines, machine, bench.failures, args)
        print(page)
        whole_run = not (args.quick or args.only or args.recorder)
        output = args.output or (TOP / "docs/PERFORMANCE.md" if whole_run else None)
        if output:
            table.write(output, page)
            say(f"written: {output}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


main()
