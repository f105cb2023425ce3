"""Readiness: one shared epoll for all sockets of the proxy, and sends in batches.

trio's ``wait_readable`` costs one or two ``epoll_ctl`` and a cancel scope for each wait.  Here a socket is registered
once, edge-triggered for both directions (epoll(7)), in an epoll whose own descriptor ends trio's wait.  After each wait
of trio, the reactor calls the handlers of all sockets that are ready in one batch, and runs the fibers that they wake.

Data that is sent meanwhile is kept back until all fibers that were ready have run, and is then flushed, wire by wire.
A send that wakes a sleeping peer costs many times more than a send to a running peer, and sends that follow closely
find the peer running.  If only one socket was ready, it sends at once, so that its further work delays nobody.

An edge reports that something happened since the last poll.  So a reader must read until nothing is left, or remember
that it did not.  ``Wire`` does so, and is the only handler.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Protocol

import trio

from rainbowd.log import get_logger
from rainbowd.proxy.background import run_with_background

if TYPE_CHECKING:
    import socket

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
BROKEN = select.EPOLLERR  # the peer reset the connection
GONE = select.EPOLLHUP | BROKEN  # the same, or both directions are shut down
ENDED = select.EPOLLRDHUP | GONE  # the peer sends no more

_EVERYTHING = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

_POLLS_MAX = 4
"""How often one pass polls for further events before trio's own tasks run."""

_KEPT_BACK_MAX = 32
"""How many wires wait to send: more would gain nothing, and delay the first of them."""

log = get_logger()


def _interrupt_trio_by(ours: select.epoll) -> select.epoll | None:
    """Make events of ``ours`` end trio's wait, and return trio's epoll; None if that cannot be arranged.

    A task that awaits the descriptor would do the same, for an ``epoll_ctl``, a cancel scope and a step of the task
    each time, which is half of the cost of a pass of trio's loop.  So the descriptor is registered once in trio's
    epoll, level-triggered; trio finds no task that waits for it and continues.  That epoll is not part of trio's public
    API: if it is not found, the caller must await the descriptor.
    """
    try:
        from trio._core._run import GLOBAL_RUN_CONTEXT  # noqa: PLC0415 - may not be there

        theirs = GLOBAL_RUN_CONTEXT.runner.io_manager._epoll
        theirs.register(ours.fileno(), select.EPOLLIN)
    except (ImportError, AttributeError, OSError):
        return None
    return theirs


class EventHandler(Protocol):
    """The handler of one socket's events."""

    def on_events(self, events: int) -> None:
        """Handle a mask of ``READABLE``, ``WRITABLE`` and ``ENDED``, without blocking or registering a socket."""

    def flush(self) -> None:
        """Send the data that was kept back. Must not wake a task: trio may already have decided how long to sleep."""

    def close(self) -> None:
        """Close the socket and unregister it."""


class Steppable(Protocol):
    """A coroutine that the reactor runs, one step at a time."""

    def step(self, exception: BaseException | None) -> None:
        """Run until the next wait, or to the end.

        Args:
            exception: raised at the wait; None to resume normally.
        """


class Reactor(trio.abc.Instrument):
    """One epoll for all sockets of the proxy; ``run`` is its one task.

    Attributes:
        fiber: the fiber that is running; None while a task is.
    """

    def __init__(self) -> None:
        self.fiber: Steppable | None = None
        self._epoll = select.epoll()
        self._handlers: dict[int, EventHandler] = {}
        self._kept_back: list[EventHandler] = []
        self._resumed: list[tuple[Steppable, BaseException | None]] = []
        self._is_running = False
        self._is_only_one = False
        self._sleeper: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return len(self._handlers)

    def register(self, sock: socket.socket, handler: EventHandler) -> None:
        """Call ``handler`` for the events of ``sock`` from now on."""
        fd = sock.fileno()
        self._epoll.register(fd, _EVERYTHING)
        self._handlers[fd] = handler

    def rearm(self, sock: socket.socket) -> None:
        """Report the readiness of ``sock`` again in the next pass, for a reader that left data unread."""
        self._epoll.modify(sock.fileno(), _EVERYTHING)

    def unregister(self, sock: socket.socket) -> None:
        """Stop reporting events. The caller must close ``sock`` next, which removes it from the epoll."""
        self._handlers.pop(sock.fileno(), None)

    def flush_soon(self, handler: EventHandler) -> None:
        """Flush ``handler`` once all fibers that are ready have run."""
        if self._is_only_one:
            handler.flush()
            return
        self._kept_back.append(handler)
        if len(self._kept_back) >= _KEPT_BACK_MAX:
            self._flush()

    def resume(self, fiber: Steppable, exception: BaseException | None = None) -> None:
        """Step ``fiber`` as soon as the handlers of all ready sockets have been called.

        Args:
            fiber: a new one, or one that waits in ``pause``.
            exception: raised at the wait; None to resume normally.
        """
        self._resumed.append((fiber, exception))
        if not self._is_running:
            self._wake()

    def clear_resumed(self) -> None:
        """Drop all fibers that are due for a step, before they are closed."""
        self._resumed.clear()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Flush. trio calls this after it has run all tasks, before it waits for I/O."""
        if self._kept_back:
            self._flush()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Run one pass. trio calls this after it has waited for I/O, before it runs the tasks that are ready."""
        self._run_once()

    async def run(self) -> None:
        """Handle the events of all sockets until cancelled."""
        trio.lowlevel.add_instrument(self)
        theirs = _interrupt_trio_by(self._epoll)
        try:
            if theirs is not None:
                await self._run_passes()
            else:
                await run_with_background(self._run_passes, self._interrupt_trio, lambda: False)
        finally:
            trio.lowlevel.remove_instrument(self)
            if theirs is not None:
                theirs.unregister(self._epoll.fileno())
            self._flush()
            self._epoll.close()

    async def _run_passes(self) -> None:
        while True:
            self._run_once()
            if self._resumed:
                await trio.lowlevel.checkpoint()
            else:
                self._sleeper = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)

    async def _interrupt_trio(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    def _wake(self) -> None:
        """Make ``run`` do one pass, as one of trio's tasks."""
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            trio.lowlevel.reschedule(sleeper)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _run_once(self) -> None:
        """Poll, run the fibers that this resumes, flush what they sent, and poll again.

        A pass of trio's loop for each poll would cost as much as the work that it finds.
        """
        self._is_running = True
        for _ in range(_POLLS_MAX):
            self._poll()
            if not self._resumed:
                break
            resumed, self._resumed = self._resumed, []
            self._is_only_one = len(resumed) == 1
            for self.fiber, exception in resumed:
                self.fiber.step(exception)
            self.fiber = None
            if self._kept_back:
                self._flush()
        self._is_running = self._is_only_one = False
        if self._resumed:
            self._wake()

    def _poll(self) -> None:
        """Call the handlers of the sockets that are ready. A bug in one connection closes only that connection."""
        ready = self._epoll.poll(0)
        self._is_only_one = len(ready) == 1
        for fd, events in ready:
            handler = self._handlers.get(fd)
            if handler is None:
                continue
            try:
                handler.on_events(events)
            except Exception as bug:
                log.error("bug: a connection failed", exc_info=bug)
                handler.close()

    def _flush(self) -> None:
        kept_back, self._kept_back = self._kept_back, []
        for handler in kept_back:
            handler.flush()
