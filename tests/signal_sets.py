"""Sets of signals as ``/proc/PID/status`` shows them."""

from __future__ import annotations

GLIBC_SIGNALS = 0b11 << 31
"""Signals 32 and 33, which glibc keeps for its threads and ``posix_spawn(3)`` leaves ignored in every child."""


def signal_set(mask: str) -> int:
    """Return the signals of a hexadecimal ``SigBlk`` or ``SigIgn`` mask, without those of glibc (proc(5))."""
    return int(mask, 16) & ~GLIBC_SIGNALS
