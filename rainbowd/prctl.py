"""The calls of prctl(2) that decide what happens when a parent process ends."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signal import Signals

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def set_pdeathsig(signum: Signals | None) -> None:
    """Set the signal that the kernel sends to this process when its parent ends.

    If the parent has ended before, no signal is sent.

    Args:
        signum: None for no signal, which is the default.

    Raises:
        OSError: the kernel refused.
    """
    _prctl(_PR_SET_PDEATHSIG, signum or 0)


def become_subreaper() -> None:
    """Make this process, rather than init, the parent of every descendant whose own parent has ended.

    Raises:
        OSError: the kernel refused.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
