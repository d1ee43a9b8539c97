#!/usr/bin/env bash
# Measures perfd, perf and samply side by side in one run: see benches/README.md.
set -eu
# Paths on the command line are relative to where it was typed.
from=$PWD
cd "$(dirname "$0")/.."
case " $* " in
*" --perfd "* | *" --help "* | *" -h "*) ;;
*) cargo build --release --quiet ;;
esac
cd "$from"
PYTHONPATH="$OLDPWD/benches" exec python3 -B -m harness "$@"
