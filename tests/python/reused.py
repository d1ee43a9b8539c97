# Makes functions and throws them away, so that code objects and their names take each other's memory. What belongs together has the same
# number: `outer_N` and `inner_N`, in `file_N.py`, at line N.
import os

ROUNDS = int(os.environ.get("ROUNDS", "3000"))

for i in range(ROUNDS):
    n = 1000 + i % 777
    source = "\n" * (n - 1) + f"def outer_{n}(): return inner_{n}()\n"
    made = {}
    exec(compile(source, f"/tmp/file_{n}.py", "exec"), made)
    source = "\n" * (n - 1) + f"def inner_{n}():\n    for i in range(3000): i * i\n"
    exec(compile(source, f"/tmp/file_{n}.py", "exec"), made)
    made[f"outer_{n}"]()
    made.clear()
