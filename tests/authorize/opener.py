"""Opens what a client of some user would pass, as that user, and passes it over standard input, which is a unix socket.

usage: opener.py UID GID GROUPS PID OTHER PROC FILE   (GROUPS with commas; OTHER: a process of the same user; PROC: another procfs; FILE: a file)

For each kind of evidence one message: its name, P for a pidfd and M for maps where there is one, and the descriptors. What may not be opened is left out."""
import os
import socket
import sys

uid, gid = int(sys.argv[1]), int(sys.argv[2])
groups = [int(group) for group in sys.argv[3].split(",") if group]
pid, other, proc, file = int(sys.argv[4]), int(sys.argv[5]), sys.argv[6], sys.argv[7]
peer = socket.socket(fileno=0)
os.setgroups(groups)
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)


def opened(path, flags=os.O_RDONLY):
    try:
        return os.open(path, flags)
    except OSError:
        return None


def held(number):
    try:
        return os.pidfd_open(number)
    except OSError:
        return None


maps = f"/proc/{pid}/maps"
for kind, pidfd, evidence in [
    ("right", held(pid), opened(maps)),
    ("no maps", held(pid), None),
    ("maps alone", None, opened(maps)),
    ("nothing", None, None),
    ("maps of another process", held(pid), opened(f"/proc/{other}/maps")),
    ("maps of oneself", held(pid), opened("/proc/self/maps")),
    ("a file", held(pid), opened(file)),
    ("maps of another procfs", held(pid), opened(f"{proc}/{pid}/maps")),
    ("maps without reading", held(pid), opened(maps, os.O_PATH)),
    ("status", held(pid), opened(f"/proc/{pid}/status")),
    ("pidfd of another process", held(other), opened(maps)),
    ("a file as pidfd", opened(file), opened(maps)),
    ("pidfd without rights", opened(f"/proc/self/fd/{held(pid)}", os.O_PATH), opened(maps)),
]:
    fds = [fd for fd in (pidfd, evidence) if fd is not None]
    has = ("P" if pidfd is not None else "") + ("M" if evidence is not None else "")
    line = f"{kind}:{has}\n".encode()
    if fds:
        socket.send_fds(peer, [line], fds)
    else:
        peer.sendall(line)
