"""Exchanges two names until it is killed: ``python racer.py ONE OTHER``, with renameat2(2)."""

from __future__ import annotations

import ctypes
import os
import sys

AT_FDCWD = -100
RENAME_EXCHANGE = 2

one, other = (os.fsencode(name) for name in sys.argv[1:])
renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
if renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print("races", flush=True)
while True:
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
