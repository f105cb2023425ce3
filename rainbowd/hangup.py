"""What HUP means to the agent: a deploy, unless the terminal was closed or HUP was ignored from the start.

A shell sends HUP to its jobs when its terminal is closed, and nohup(1) has it ignored.  Neither asks for a deploy.
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
"""How long a shell that ends may take from sending HUP to giving up its terminal."""
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Hangup:
    """What this process was started with.

    Attributes:
        is_ignored: HUP was ignored.
        had_terminal: there was a controlling terminal.
    """

    is_ignored: bool = False
    had_terminal: bool = False

    @classmethod
    def now(cls) -> Hangup:
        """Return how it is now; to be called before signals get handlers."""
        return cls(is_ignored=signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, had_terminal=has_terminal())

    async def is_of_terminal(self) -> bool:
        """Return whether a HUP that has just come is from a terminal that was closed."""
        if not self.had_terminal:
            return False
        with trio.move_on_after(CLOSING_SECONDS):
            while has_terminal():  # noqa: ASYNC110 - a terminal has no event
                await trio.sleep(_LOOK_SECONDS)
        return not has_terminal()

    @contextlib.contextmanager
    def passed_on(self) -> Iterator[None]:
        """Have a program that is started meanwhile ignore HUP from its start too, if this one did; see execve(2)."""
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
