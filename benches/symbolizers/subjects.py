"""The files whose addresses are asked for."""

import glob
import os
import platform
import subprocess
from pathlib import Path

SAMPLY = "0.13.1"


def rust_binary(folder):
    """samply with full debug information, some 200 MB; built if it is not there, which takes minutes."""
    binary = folder / "bin/samply"
    if not binary.exists():
        print(f"building samply {SAMPLY} with full debug information in {folder} …", flush=True)
        command = ["cargo", "install", "--quiet", "samply", "--locked", "--version", SAMPLY, "--root", str(folder)]
        subprocess.run(command, env={**os.environ, "CARGO_PROFILE_RELEASE_DEBUG": "2"}, check=True)
    return binary


def python_library():
    """Debian's libpython with its debug information in the same file (python3-dbg), if it is installed."""
    found = sorted(glob.glob(f"/usr/lib/{platform.machine()}-linux-gnu/libpython3.*d.so.1.0"))
    return Path(found[-1]) if found else None
