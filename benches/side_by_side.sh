#!/usr/bin/env bash
# Measures perfd, perf and samply side by side in one run: see benches/README.md.
set -eu
cd "$(dirname "$0")/.."
case " $* " in
*" --perfd "* | *" --help "* | *" -h "*) ;;
*) cargo build --release --quiet ;;
esac
cd benches
exec python3 -B -m harness "$@"
