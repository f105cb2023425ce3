"""The waits at one socket: for something to receive, for room to send, and what ends them early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.proxy.fiber import pause, wake

if TYPE_CHECKING:
    from rainbowd.proxy.reactor import Reactor, Steppable


class Waits:
    """The fibers or tasks that wait at one socket: at most one to receive, and at most one to send.

    ``interrupt`` raises an exception in the fiber or task that waits here, or in the next one that would wait.  So time
    limits, a client that left and the end of the agent reach an exchange without a cancel scope for each wait.

    Args:
        reactor: runs the fibers.
    """

    __slots__ = ("_interruption", "_reactor", "_reader", "_writer")

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._reader: Steppable | trio.lowlevel.Task | None = None
        self._writer: Steppable | trio.lowlevel.Task | None = None
        self._interruption: BaseException | None = None

    @property
    def is_receiving(self) -> bool:
        """Whether a fiber or task waits to receive."""
        return self._reader is not None

    @property
    def is_sending(self) -> bool:
        """Whether a fiber or task waits to send."""
        return self._writer is not None

    async def wait_readable(self) -> None:
        """Wait for the next event after which something may be received."""
        if self._interruption is not None:
            self.raise_interruption()
        self._reader = self._reactor.fiber
        if self._reader is not None:
            await pause()
        else:
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort_reader)

    async def wait_writable(self) -> None:
        """Wait for the next event after which there may be room to send."""
        if self._interruption is not None:
            self.raise_interruption()
        self._writer = self._reactor.fiber
        if self._writer is not None:
            await pause()
        else:
            self._writer = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort_writer)

    def _abort_reader(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _abort_writer(self, _: object) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    def interrupt(self, exception: BaseException) -> bool:
        """Raise ``exception`` in those who wait here, or in the next to wait; return whether anybody waited."""
        waiting = [waiter for waiter in (self._reader, self._writer) if waiter is not None]
        self._reader = self._writer = None
        for waiter in waiting:
            wake(self._reactor, waiter, exception)
        if not waiting:
            self._interruption = exception
        return bool(waiting)

    def clear_interruption(self) -> None:
        """Drop an interruption that has not been raised."""
        self._interruption = None

    def raise_interruption(self) -> None:
        """Raise the interruption that is pending, if there is one."""
        exception, self._interruption = self._interruption, None
        if exception is None:
            return
        try:
            raise exception
        finally:
            del exception  # its traceback refers to this frame: a cycle
