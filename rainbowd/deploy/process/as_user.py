"""Access to the files and processes of another account with the rights of that account.

To read the environment and the descriptors of another account's process, root needs CAP_SYS_PTRACE, which root in a
container does not have.  But /proc checks the file system user and group of the thread, which root can set for one
thread (setfsuid(2), and ptrace(2) on access modes).
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
    """Access files with the rights of a process's account, in this thread; do not await in the context.

    Args:
        pid: number of the process.

    Raises:
        OSError: the process no longer exists.
    """
    with as_owner_of(f"/proc/{pid}"):
        yield


@contextmanager
def as_owner_of(path: str | Path) -> Iterator[None]:
    """Access files with the rights of the owner of ``path``, in this thread; do not await in the context.

    If this process is not root, or the owner is, nothing changes.

    Args:
        path: of a file or a directory.

    Raises:
        OSError: ``path`` does not exist.
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
