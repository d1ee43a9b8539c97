"""Peak memory of a process tree, read from /proc while it runs."""

import re
import threading
from pathlib import Path

PERIOD = 0.05


class Peak(threading.Thread):
    """Watches a process: peak of RssAnon + mapped perf rings (what it costs the host), and of VmHWM."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.over = pid, threading.Event()
        self.anon_and_rings = self.high_water = 0
        self.start()

    def run(self):
        while not self.over.wait(PERIOD):
            try:
                self.look(Path(f"/proc/{self.pid}"))
            except (OSError, ProcessLookupError):
                return

    def look(self, proc):
        status = (proc / "status").read_text()
        kilobytes = lambda key: int((re.search(rf"{key}:\s+(\d+)", status) or [0, 0])[1])  # noqa: E731
        rings = sum(
            int(end, 16) - int(start, 16)
            for start, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) .*\[perf_event\]$", (proc / "maps").read_text(), re.M)
        )
        self.anon_and_rings = max(self.anon_and_rings, kilobytes("RssAnon") * 1024 + rings)
        self.high_water = max(self.high_water, kilobytes("VmHWM") * 1024)

    def stop(self):
        self.over.set()
        self.join()
        return self
