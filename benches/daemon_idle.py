#!/usr/bin/env python3
"""What `perfd daemon` takes with ten targets: benches/daemon_idle.py PERFD idle|busy

After a minute of warm-up, CPU time over a minute, of the daemon, its children and its BPF programs, and memory at the end. Needs root.
idle: ten processes that sleep. busy: ten that wake ten times a second and work for some 1 ms of CPU each time.
"""
import json, os, subprocess, sys, tempfile, time

PERFD, KIND = sys.argv[1:]
TARGETS = {
    "idle": "import time\nwhile True: time.sleep(1000)",
    "busy": "import time\nwhile True:\n sum(i*i for i in range(15000)); time.sleep(0.1)",
}
MIB = 1 << 20
folder = tempfile.TemporaryDirectory(prefix="perfd-idle-")
socket = f"{folder.name}/control.sock"


def ctl(*words):
    done = subprocess.run([PERFD, "ctl", "--socket", socket, *words], capture_output=True, text=True, check=True)
    return done.stdout


def stat(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


def children(pid):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            found += [int(name)] if int(stat(name)[1]) == pid else []
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    """Of the threads that live, in nanoseconds as the scheduler has them: ticks are too coarse."""
    threads = os.listdir(f"/proc/{pid}/task")
    return sum(int(open(f"/proc/{pid}/task/{tid}/schedstat").read().split()[0]) for tid in threads) / 1e9


def ended_children_seconds(pid):
    fields = stat(pid)
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def anon_mib(pid):
    lines = open(f"/proc/{pid}/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def look(daemon):
    stats = json.loads(ctl("--json", "stats"))
    of_children = sum(map(cpu_seconds, children(daemon))) + ended_children_seconds(daemon)
    return time.monotonic(), cpu_seconds(daemon), of_children, (stats["bpf_ns"] or 0) / 1e9, stats


targets = [subprocess.Popen([sys.executable, "-c", TARGETS[KIND]]) for _ in range(10)]
daemon = subprocess.Popen([PERFD, "daemon", "--socket", socket, "--state", f"{folder.name}/state"], stderr=subprocess.DEVNULL)
try:
    while not os.path.exists(socket) and daemon.poll() is None:
        time.sleep(0.1)
    for target in targets:
        ctl("attach", str(target.pid))
    time.sleep(60)
    before = look(daemon.pid)
    time.sleep(60)
    after = look(daemon.pid)
    seconds = after[0] - before[0]
    percent = [(b - a) / seconds * 100 for a, b in zip(before[1:4], after[1:4])]
    stats = after[4]
    memory = [anon_mib(daemon.pid), sum(map(anon_mib, children(daemon.pid))), stats["ring_bytes"] / MIB, stats["bpf_map_bytes"] / MIB]
    print(f"{KIND}: load {os.getloadavg()[0]:.1f}, {seconds:.1f} s")
    print("CPU, % of a core: {:.3f} daemon, {:.3f} children, {:.3f} BPF, {:.3f} in all".format(*percent, sum(percent)))
    print("memory, MiB: {:.1f} daemon, {:.1f} children, {:.1f} rings, {:.1f} BPF maps, {:.1f} in all".format(*memory, sum(memory)))
finally:
    daemon.terminate()
    daemon.wait()
    for target in targets:
        target.kill()
        target.wait()
