"""What the agent is to its descendants: what they inherit, and who reaps them."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from rainbowd.deploy.process.procfs import read_entry, read_table

_awaited: set[tuple[int, int]] = set()
"""Children, by number and start time, whose exit status somebody still wants to know."""

registering = threading.Lock()
"""Held from the start of a child until ``await_status`` was told of it: ``reap_orphans`` runs in a thread."""


def reset_signals() -> None:
    """Undo what the agent was started with (nohup, ``&``): children inherit what is ignored or blocked.

    For the main thread, before there are others.  What Python itself ignores, ``subprocess`` restores in each
    child.
    """
    python_ignores = {signal.SIGPIPE, signal.SIGXFSZ}
    for signum in signal.valid_signals() - python_ignores:
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def await_status(pid: int, start_time: int) -> None:
    """Have ``reap_orphans`` leave this child to whoever calls ``reap`` for it."""
    _awaited.add((pid, start_time))


def let_go(pid: int, start_time: int) -> None:
    """Nobody wants to know this child's exit status any more."""
    _awaited.discard((pid, start_time))


def awaited() -> frozenset[tuple[int, int]]:
    """The children, by number and start time, that ``reap_orphans`` leaves alone."""
    return frozenset(_awaited)


def children() -> frozenset[int]:
    """Return the numbers of our children, with the orphans that came to us; none if the kernel has no list of them."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_bytes()
    except OSError:  # CONFIG_PROC_CHILDREN, proc(5)
        return frozenset()
    return frozenset(map(int, text.split()))


def reap(pid: int, start_time: int) -> int | None:
    """Reap this child if it has ended.

    Returns:
        Its exit status, negative for a signal; None if it has not ended, is not our child or was reaped before.
    """
    entry = read_entry(pid)
    if entry is None or entry.start_time != start_time:
        return None
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if reaped else None


def reap_orphans() -> None:
    """Reap the children that have ended and came to us when their parents did.

    Reads /proc only if some child has ended.  Every other child of this process must be one that
    ``await_status`` was told of: one that is not loses its exit status.
    """
    try:
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
    except ChildProcessError:  # there are no children
        return
    for entry in read_table().values():
        if entry.parent == os.getpid() and entry.ended:
            with registering:
                if (entry.pid, entry.start_time) not in _awaited:
                    reap(entry.pid, entry.start_time)
