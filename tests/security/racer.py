"""Exchanges two names until it is terminated: ``python racer.py ONE OTHER``, with renameat2(2).

It prints a line once it races, and at the end how many exchanges it has made.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

AT_FDCWD = -100
RENAME_EXCHANGE = 2

one, other = (os.fsencode(name) for name in sys.argv[1:])
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
    exchanges += renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0
print(exchanges, flush=True)
