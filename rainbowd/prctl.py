"""What becomes of a process where its parent ends."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signal import Signals

_PR_SET_PDEATHSIG = 1


def set_pdeathsig(signum: Signals | None) -> None:
    """Have the kernel signal us where our parent ends, which may have been before: see prctl(2).

    Args:
        signum: None for nothing, as it is at first.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signum or 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
