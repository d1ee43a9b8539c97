#!/usr/bin/env bash
# Measures perfd symbolize and its peers side by side in one run: see benches/README.md.
set -eu
# Paths on the command line are relative to where it was typed.
from=$PWD
cd "$(dirname "$0")/.."
case " $* " in
*" --perfd "* | *" --peers-only "* | *" --help "* | *" -h "*) ;;
*) cargo build --release --quiet ;;
esac
# One peer is given 100 000 addresses as arguments.
ulimit -S -s 65536 2>/dev/null || true
cd "$from"
PYTHONPATH="$OLDPWD/benches" exec python3 -B -m symbolizers "$@"
