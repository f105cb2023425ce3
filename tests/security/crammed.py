"""Has an environment of 5.7 MB, which is nothing but nulls: ``python -S crammed.py``, twice executed."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import time
from pathlib import Path

VARIABLE_BYTES = 120_000
VARIABLES = 48
STACK_BYTES = 64 * 2**20
"""A quarter of it is for arguments and environment, up to 6 MiB: execve(2)."""

if "CRAMMED" not in os.environ:
    env = {"CRAMMED": "1"} | {f"V{number}": "x" * VARIABLE_BYTES for number in range(VARIABLES)}
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    os.execve(sys.executable, [sys.executable, "-S", __file__], env)
fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
start, end = int(fields[47]), int(fields[48])  # env_start and env_end, fields 50 and 51 of proc_pid_stat(5)
ctypes.memset(start, 0, end - start)
print("crammed", flush=True)
time.sleep(1000)
