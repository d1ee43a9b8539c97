"""All that a host may do to the daemon, at once."""

import os
import pathlib
import random
import re
import socket
import subprocess
import threading
import time

from daemon import Client, Refused, account, mib

HERE = pathlib.Path(__file__).resolve().parent

# What comes back to its base when the load is over: `stats` gives it, and /proc the children.
FIGURES = ["open_files", "threads", "children", "ring_bytes", "bpf_map_bytes", "targets"]

# Storms of which the second must leave no more memory than the first.
STORMS = 2
# By so much more it may be all the same: what the second has met and the first has not.
SLACK = 12 << 20
# And so much more than in the beginning: stacks, modules and names of threads go when there are many.
MOST_LEFT = 32 << 20
# What is so little above the beginning is not waited for to fall.
LOW = 16 << 20

# So many times in a row figures are the same when nothing moves any more: 10 windows.
STEADY = 50
# How long that, or their base, is waited for. It takes a minute at the most: that is how long what nobody asks for is kept.
PATIENCE = 240
# Memory is at its least when it has not fallen for so many seconds: what nobody asks for is kept for sixty.
FALLS_WITHIN = 70


class Storm:
    CONFIG = """
window = "1s"
[limits]
clients_per_user = 64
[files]
targets = "all"
window = "2s"
keep_bytes = "4MiB"
"""

    def __init__(self, path, seconds, daemon):
        self.path = path
        # Its process, if it is ours.
        self.daemon = daemon
        self.seconds = seconds
        self.ends = 0.0
        self.loads = []
        self.answer_times = []
        self.memory = []
        self.counts = {}
        self.failures = []
        self.lock = threading.Lock()

    def goes_on(self):
        return time.monotonic() < self.ends and not self.failures

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def count_refused(self, error):
        self.count("refused: " + re.sub(r"[0-9]+", "…", str(error))[:100])

    # The load.

    def start_loads(self, folder):
        program, library = folder / "load", folder / "load.so"
        for what, per_second in [("forks", 100), ("threads", 1000), ("code", 200), ("libraries", 100), ("stacks", 500)]:
            command = [program, what, str(per_second), library]
            self.loads.append(subprocess.Popen(command, stdin=subprocess.PIPE))

    def end_loads(self):
        for load in self.loads:
            load.stdin.close()
            load.wait()
        self.loads.clear()

    # Clients; each of these is a thread.

    def attaches(self):
        """Ten times a second somebody attaches to something and leaves again, in one of the ways to do so."""
        while self.goes_on():
            load = random.choice(self.loads)
            client = self.connection()
            if client is None:
                continue
            try:
                target = client.ask("attach", target={"pid": load.pid}, frequency=random.choice([19, 99]))["target"]
                self.count("attached")
                if random.random() < 0.5:
                    client.ask("tail", target=target, format=random.choice(["folded", "json", "pprof"]))
                if random.random() < 0.5:
                    client.ask("mark", target=target, phase=f"phase {random.randrange(3)}")
                if random.random() < 0.5:
                    client.ask("snapshot", target=target, format="folded")
                if random.random() < 0.5:
                    client.ask("detach", target=target)
            except Refused as error:
                self.count_refused(error)
            client.close()
            time.sleep(0.1)

    def exits(self):
        """Attaches to what is ending at that moment."""
        while self.goes_on():
            client = self.connection()
            if client is None:
                continue
            with subprocess.Popen(["true"]) as short:
                time.sleep(random.uniform(0, 0.003))
                try:
                    client.ask("attach", target={"pid": short.pid})
                    self.count("attached to what was ending")
                except Refused:
                    self.count("too late to attach")
            client.close()
            time.sleep(0.1)

    def slow(self):
        """Tails everything and reads nothing, for as long as the daemon bears it."""
        while self.goes_on():
            client = self.connection()
            if client is None:
                continue
            try:
                target = client.ask("attach", target={"host": True})["target"]
                client.ask("tail", target=target, format="json")
                self.count("tailed without reading")
            except Refused as error:
                self.count_refused(error)
            wait_until = min(self.ends, time.monotonic() + random.uniform(1, 30))
            while time.monotonic() < wait_until:
                time.sleep(0.2)
            client.close()

    def nonsense(self):
        """Says what is no request, or not all of it."""
        sayings = [b"\n", b"{}\n", b"\xff\xfe\x00\n", b'{"do":"attach"', b'{"do":"list","x":' + b"[" * 5000 + b"\n", b"x" * 200_000, b""]
        while self.goes_on():
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(60)
            try:
                client.connect(str(self.path))
                client.sendall(random.choice(sayings))
                self.count("nonsense")
            except OSError:
                self.count("nonsense cut short")
            client.close()
            time.sleep(0.05)

    def meter(self):
        """Asks for figures ten times a second: the one client that is always connected."""
        client = Client(self.path)
        while self.goes_on():
            began = time.monotonic()
            stats = client.ask("stats")
            self.answer_times.append(time.monotonic() - began)
            self.memory.append((began, stats["rss_anon_bytes"]))
            time.sleep(0.1)
        client.close()

    def connection(self):
        try:
            return Client(self.path)
        except (Refused, ConnectionError):
            self.count("connection refused")
            time.sleep(0.1)

    def guarded(self, of):
        try:
            of()
        except Exception as error:  # Whatever it is, it is the soak's result.
            if self.goes_on():
                self.failures.append(f"{of.__name__}: {error!r}")

    # All of it.

    def run(self, folder):
        compile_loads(folder)
        keeper = Client(self.path)
        try:
            # One target is there all the time, so that there is an engine whose account is looked at in the end.
            keeper.ask_in_the_end("attach", target={"pid": os.getpid()})
            self.start_loads(folder)
            self.once_each(keeper)
            self.end_loads()
            calm = [self.calm(keeper, None)]
            for _ in range(STORMS):
                self.start_loads(folder)
                self.storm(self.seconds / STORMS)
                self.end_loads()
                calm.append(self.calm(keeper, calm[0]))
            self.report(calm)
        finally:
            self.end_loads()
            keeper.close()

    def storm(self, seconds):
        self.ends = time.monotonic() + seconds
        clients = [self.attaches, self.attaches, self.exits, self.slow, self.nonsense, self.meter]
        threads = [threading.Thread(target=self.guarded, args=(of,)) for of in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def once_each(self, keeper):
        """What is only there after it was used (a parser, a first window) is part of the base."""
        for load in self.loads:
            target = keeper.ask_in_the_end("attach", target={"pid": load.pid})["target"]
            self.first_snapshot(keeper, target)
            keeper.ask_in_the_end("detach", target=target)

    def first_snapshot(self, keeper, target):
        """There is one when the first window is over."""
        patience = time.monotonic() + 60
        while True:
            try:
                return keeper.ask("snapshot", target=target, format="folded")
            except Refused:
                if time.monotonic() > patience:
                    raise
                time.sleep(0.1)

    def calm(self, keeper, base):
        """The figures when all clients are gone and nothing moves any more; those of the base, if they ever come."""
        patience = time.monotonic() + PATIENCE
        before, n_same = None, 0
        least, fell = None, time.monotonic()
        while True:
            stats = keeper.ask_in_the_end("stats")
            stats["children"] = self.n_children()
            memory = stats["rss_anon_bytes"]
            if least is None or memory < least - 2**20:
                least, fell = memory, time.monotonic()
            is_low = base is None or memory <= base["rss_anon_bytes"] + LOW or time.monotonic() > fell + FALLS_WITHIN
            figures = [stats[figure] for figure in FIGURES]
            n_same = n_same + 1 if figures == before else 0
            before = figures
            alone = stats["clients"]["connected"] == 1 and stats["targets"] == 1
            is_base = n_same >= STEADY if base is None else all(stats[figure] <= base[figure] for figure in FIGURES)
            if alone and is_base and is_low or time.monotonic() > patience:
                return stats
            time.sleep(0.2)

    def n_children(self):
        """Child processes of the daemon: those that parse files."""
        n_children = 0
        for thread in os.listdir(f"/proc/{self.daemon}/task") if self.daemon else []:
            try:
                n_children += len(pathlib.Path(f"/proc/{self.daemon}/task/{thread}/children").read_text().split())
            except OSError:
                pass  # The thread has ended.
        return n_children

    def report(self, calm):
        for what, n in sorted(self.counts.items()):
            print(f"{n:8}  {what}")
        times = sorted(1000 * seconds for seconds in self.answer_times)
        if times:
            p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
            print(f"answers  {len(times)}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {times[-1]:.1f} ms")
        base, last = calm[0], calm[-1]
        for figure in FIGURES:
            values = [stats[figure] for stats in calm]
            print(f"{figure}  {values[0]} in the beginning, then {values[1:]}")
            if max(values) > base[figure]:
                self.failures.append(f"{figure} has not come back to {base[figure]}: {values[1:]}")
        memory = [stats["rss_anon_bytes"] for stats in calm]
        print(f"memory   {mib(memory[0])} in the beginning, {', '.join(mib(n) for n in memory[1:])} behind each storm; {slope(self.memory)}")
        if memory[-1] > memory[1] + SLACK:
            self.failures.append(f"another storm leaves more memory: {mib(memory[1])}, then {mib(memory[-1])}")
        if max(memory) > memory[0] + MOST_LEFT:
            self.failures.append(f"a storm leaves {mib(max(memory))} of memory, where {mib(memory[0])} were taken before")
        self.failures += account(last)
        print(f"clients  {last['clients']}")


def compile_loads(folder):
    program, library = folder / "load", folder / "load.so"
    compile_ = ["cc", "-O1", "-g", str(HERE / "load.c"), "-pthread", "-ldl", "-o"]
    subprocess.run([*compile_, program], check=True)
    subprocess.run([*compile_, library, "-DLIBRARY", "-shared", "-fPIC"], check=True)


def slope(points):
    """Of the second half, by least squares: the first one fills what is there to be filled."""
    points = points[len(points) // 2 :]
    # Within minutes, memory follows the load of the moment.
    if len(points) < 10 or points[-1][0] - points[0][0] < 300:
        return "too short for a slope"
    n = len(points)
    mean_x = sum(x for x, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    across = sum((x - mean_x) ** 2 for x, _ in points)
    per_second = sum((x - mean_x) * (y - mean_y) for x, y in points) / across
    return f"growth in the second half {per_second * 3600 / 2**20:+.2f} MiB/h"
