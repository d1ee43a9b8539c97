"""Ten targets that do little, at the daemon's own rate: what that takes."""

import subprocess
import time

from daemon import Client, account, mib

N_TARGETS = 10
# Wakes up a hundred times a second, as a server does that waits for clients.
TARGET = ["python3", "-c", "import time\nwhile True: time.sleep(0.01)"]


class Idle:
    # All as it is by default.
    CONFIG = ""

    def __init__(self, path, seconds, _daemon):
        self.path, self.seconds = path, seconds
        self.failures = []

    def run(self, folder):
        targets = [subprocess.Popen(TARGET) for _ in range(N_TARGETS)]
        client = Client(self.path)
        try:
            for target in targets:
                client.ask("attach", target={"pid": target.pid}, frequency=19)
            # Names are looked up once, in the beginning.
            time.sleep(min(10, self.seconds))
            before, began = client.ask("stats"), time.monotonic()
            time.sleep(self.seconds)
            after, ended = client.ask("stats"), time.monotonic()
            self.report(before, after, ended - began)
        finally:
            client.close()
            for target in targets:
                target.kill()
                target.wait()

    def report(self, before, after, seconds):
        share = (after["cpu_ns"] - before["cpu_ns"]) / seconds / 1e9
        print(f"cpu      {share:.3%} of a CPU over {seconds:.0f} s, with the parser")
        if after["bpf_ns"] is not None and before["bpf_ns"] is not None:
            print(f"bpf      {(after['bpf_ns'] - before['bpf_ns']) / seconds / 1e9:.3%} of a CPU")
        memory = [after[figure] for figure in ["rss_anon_bytes", "ring_bytes", "bpf_map_bytes"]]
        print(f"memory   {mib(sum(memory))}: {mib(memory[0])} of its own, {mib(memory[1])} of rings, {mib(memory[2])} of BPF maps")
        self.failures += account(after)
