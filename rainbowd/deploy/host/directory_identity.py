"""Distinguishing a directory from a later one of the same name."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_MASK_OFFSET = 0
_BTIME_OFFSET = 80
"""In ``struct statx``: see statx(2) and linux/stat.h."""


def directory_identity(path: Path) -> list[int] | None:
    """Return the inode of the directory ``path`` and its creation time in nanoseconds; None if it does not exist.

    A later directory may get the same inode.  On a file system without creation times, the time of the last change is
    used instead: then a changed directory may be taken for another one, but never another one for the same.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    born_ns = _born_ns(path)
    return [status.st_ino, status.st_ctime_ns if born_ns is None else born_ns]


def _born_ns(path: Path) -> int | None:
    """Return the creation time of ``path``, by statx(2), which Python does not have; None if unknown."""
    statx = getattr(ctypes.CDLL(None), "statx", None)
    if statx is None:  # another C library
        return None
    buffer = (ctypes.c_char * _STATX_BYTES)()
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, buffer) != 0:
        return None
    if not ctypes.c_uint32.from_buffer(buffer, _MASK_OFFSET).value & _STATX_BTIME:
        return None
    seconds = ctypes.c_int64.from_buffer(buffer, _BTIME_OFFSET).value
    return seconds * 1_000_000_000 + ctypes.c_uint32.from_buffer(buffer, _BTIME_OFFSET + 8).value or None
