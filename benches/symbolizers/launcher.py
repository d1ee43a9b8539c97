"""`launcher.py QUESTIONS COMMAND…`: runs the command with that file as its standard input, and prints its exit code, its seconds of CPU, its peak memory in KiB and the seconds that it took.

A program of its own, and small: the peak of a process begins with that of the one that started it.
"""

import os
import sys
import time

questions, *command = sys.argv[1:]
stdin, null = os.open(questions, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)
started = time.perf_counter()
child = os.posix_spawnp(
    command[0],
    command,
    os.environ,
    file_actions=[(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)],
)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - started
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss, seconds)
