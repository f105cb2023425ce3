"""Exchanges two names until it is terminated: ``python racer.py ONE OTHER ENOUGH``, with renameat2(2).

It exchanges them as fast as it can for a moment, then leaves them for a moment, so that a series of checks meets a
name that changes between two of them as well as one that does not.  It prints a line once it races, makes the file
``ONE.raced`` after ``ENOUGH`` exchanges, and prints at the end how many it has made.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import time

AT_FDCWD = -100
RENAME_EXCHANGE = 2
MOMENT_SECONDS = 0.02

one, other = (os.fsencode(name) for name in sys.argv[1:3])
enough = int(sys.argv[3])
renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
if renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
is_over = False


def end(*_: object) -> None:
    global is_over  # noqa: PLW0603 - a signal handler's only way out
    is_over = True


signal.signal(signal.SIGTERM, end)
print("races", flush=True)
exchanges = 1
while not is_over:
    until = time.monotonic() + random.uniform(0, MOMENT_SECONDS)
    while time.monotonic() < until:
        exchanges += renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0
    if exchanges >= enough:
        os.close(os.open(one + b".raced", os.O_CREAT | os.O_WRONLY))
    time.sleep(random.uniform(0, MOMENT_SECONDS))
print(exchanges, flush=True)
