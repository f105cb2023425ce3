"""Seeing of another user's process what that user may see: its environment and its descriptors.

Root needs CAP_SYS_PTRACE for it, which root in a container has not; but /proc judges by the user and group that a
thread has for files, and these root may set for one thread alone (setfsuid(2), and ptrace(2) on access modes).
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rainbowd.config.account import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_libc = ctypes.CDLL(None)


@contextmanager
def as_owner(pid: int) -> Iterator[None]:
    """In this thread, until the end of the context: open files as the user of process ``pid``; no await in it.

    Raises:
        OSError: the process is gone.
    """
    with as_owner_of(f"/proc/{pid}"):
        yield


@contextmanager
def as_owner_of(path: str | Path) -> Iterator[None]:
    """In this thread, until the end of the context: use files as the owner of ``path`` may; no await in it.

    Nothing changes if this process is not root, or if the owner is.

    Raises:
        OSError: there is nothing at ``path``.
    """
    status = os.stat(path)  # noqa: PTH116 - may be a str
    if os.geteuid() != ROOT or status.st_uid == ROOT:
        yield
        return
    _libc.setfsgid(ctypes.c_uint(status.st_gid))
    _libc.setfsuid(ctypes.c_uint(status.st_uid))
    try:
        yield
    finally:
        _libc.setfsuid(ctypes.c_uint(ROOT))
        _libc.setfsgid(ctypes.c_uint(os.getegid()))
