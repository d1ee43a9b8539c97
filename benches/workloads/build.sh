#!/usr/bin/env bash
# Builds the workloads into a directory: `build.sh OUT`. What has no compiler here is left out, with a word.
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"

cxx=$(command -v clang++-14 || command -v clang++ || command -v c++ || true)
if [ -n "$cxx" ]; then
    for program in deep wide_stack; do
        "$cxx" -std=c++17 -O2 -g -fomit-frame-pointer -o "$out/$program" "$program.cpp"
    done
else
    echo "build.sh: no C++ compiler: deep and wide_stack are left out" >&2
fi
rustc --edition 2024 -g -O -o "$out/threads" threads.rs
cp python_work.py node_work.js postgres.sh "$out/"
python3 large_cpp.py > "$out/large.cpp"
