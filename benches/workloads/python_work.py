"""Pure Python with some C: `python3 python_work.py CPU_SECONDS`. Reports as `progress.h` says."""

import json
import os
import re
import sys
import time

WORD = re.compile(r"[a-z]+(\d+)")


class Node:
    def __init__(self, key):
        self.key, self.left, self.right = key, None, None

    def insert(self, key):
        side = "left" if key < self.key else "right"
        child = getattr(self, side)
        if child is None:
            setattr(self, side, Node(key))
        else:
            child.insert(key)

    def total(self):
        return self.key + sum(child.total() for child in (self.left, self.right) if child)


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def tree(seed):
    root = Node(500)
    for _ in range(60):
        seed = seed * 1103515245 + 12345 & 0x7FFFFFFF
        root.insert(seed % 1000)
    return root.total()


def text(seed):
    words = ["word%d" % (seed * i % 977) for i in range(60)]
    numbers = sorted((int(WORD.match(word).group(1)) for word in words), key=lambda n: -n)
    return len(json.dumps(json.loads(json.dumps({"numbers": numbers}))))


def main():
    end_ns = int(float(sys.argv[1] if len(sys.argv) > 1 else 1e9) * 1e9)
    print("pid", os.getpid())
    units, printed_ns, cpu_ns, value = 0, 0, time.process_time_ns(), 1
    print(0, cpu_ns, time.monotonic_ns(), flush=True)
    while cpu_ns < end_ns:
        value = fibonacci(9) + tree(value) + text(value)
        units += 1
        cpu_ns = time.process_time_ns()
        if cpu_ns - printed_ns >= 20_000_000 or cpu_ns >= end_ns:
            print(units, cpu_ns, time.monotonic_ns(), flush=True)
            printed_ns = cpu_ns


main()
