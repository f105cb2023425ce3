"""Reaping children and orphans, and the signal settings that children inherit."""

from __future__ import annotations

import os
import signal
import threading

from rainbowd.deploy.process.procfs import read_entry, read_table

_reserved: set[tuple[int, int]] = set()
"""Children whose exit status a task waits for, by number and start time."""

registering = threading.Lock()
"""Held from the start of a child until ``reserve_status`` was called for it: ``reap_orphans`` runs in a thread."""


def reset_signals() -> None:
    """Restore signals that were ignored or blocked when the agent was started (nohup, ``&``), as children inherit that.

    Call it in the main thread, before other threads start.  ``subprocess`` restores the signals that Python ignores.
    """
    python_ignores = {signal.SIGPIPE, signal.SIGXFSZ}
    for signum in signal.valid_signals() - python_ignores:
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def reserve_status(pid: int, start_time: int) -> None:
    """Keep ``reap_orphans`` from reaping a child, whose exit status ``reap`` will return.

    Args:
        pid: number of the child.
        start_time: in clock ticks since boot.
    """
    _reserved.add((pid, start_time))


def release_status(pid: int, start_time: int) -> None:
    """Let ``reap_orphans`` reap a child again, after ``reserve_status``."""
    _reserved.discard((pid, start_time))


def reserved_children() -> frozenset[tuple[int, int]]:
    """Return the children that ``reap_orphans`` does not reap, by number and start time."""
    return frozenset(_reserved)


def reap(pid: int, start_time: int) -> int | None:
    """Reap a child if it has ended.

    Args:
        pid: number of the child.
        start_time: in clock ticks since boot.

    Returns:
        Its exit status, negative for a signal; None if it has not ended, is not a child or was reaped before.
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
    """Reap the orphans that became children of the agent and have ended.

    This reads /proc only if a child has ended.  A child whose exit status matters must be registered by
    ``reserve_status``, or it is reaped here.
    """
    try:
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
    except ChildProcessError:  # there are no children
        return
    for entry in read_table().values():
        if entry.parent == os.getpid() and entry.ended:
            with registering:
                if (entry.pid, entry.start_time) not in _reserved:
                    reap(entry.pid, entry.start_time)
