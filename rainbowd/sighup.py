"""The meaning of SIGHUP to the agent: a deploy, unless the terminal was closed or SIGHUP was ignored at the start.

A shell sends SIGHUP to its jobs when its terminal is closed, and nohup(1) ignores it.  Neither requests a deploy.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOSING_SECONDS = 0.5
"""How long an exiting shell may take from sending SIGHUP to releasing its terminal."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Hangup:
    """The treatment of SIGHUP with which this process was started.

    Attributes:
        is_ignored: whether SIGHUP was ignored.
        had_terminal: whether the process had a controlling terminal.
    """

    is_ignored: bool = False
    had_terminal: bool = False

    @classmethod
    def now(cls) -> Hangup:
        """Return the present state; call this before any signal handler is installed."""
        return cls(is_ignored=signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, had_terminal=has_terminal())

    async def is_from_closed_terminal(self) -> bool:
        """Return whether a SIGHUP that has just arrived means that the terminal was closed."""
        if not self.had_terminal:
            return False
        with trio.move_on_after(CLOSING_SECONDS):
            while has_terminal():  # noqa: ASYNC110 - a terminal has no event
                await trio.sleep(_POLL_SECONDS)
        return not has_terminal()

    @contextlib.contextmanager
    def inherited(self) -> Iterator[None]:
        """Make programs that are started within the context ignore SIGHUP too, if this one did: execve(2)."""
        if not self.is_ignored:
            yield
            return
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, before)


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal; see tty(4)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
