"""Readiness: one shared epoll for all sockets of the proxy, and one moment in which they send.

trio's ``wait_readable`` costs an ``epoll_ctl`` or two and a cancel scope each wait.  Here a socket is registered once,
edge-triggered for both directions (epoll(7)), in an epoll whose own descriptor ends trio's wait.  Whenever trio comes
back from that, all sockets that are ready are told in one batch, and the fibers that wait for them run.

What is sent meanwhile is kept back until all that were ready had their turn, and goes out then, wire after wire.  A
send that wakes a sleeping peer costs many times what one to a peer that runs already costs, and those that follow
closely find it running.  Where only one was ready it sends at once, so that what else it has to do delays nobody.

An edge says that something happened since the last look, so whoever reads takes all there is, or remembers that he did
not; ``Wire`` keeps that promise and is the only user of this module.
"""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING, Protocol

import trio

from rainbowd.log import get_logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
BROKEN = select.EPOLLERR  # the peer reset the connection
GONE = select.EPOLLHUP | BROKEN  # the same, or both directions are shut
ENDED = select.EPOLLRDHUP | GONE  # the peer sends no more

_EVERYTHING = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

_POLLS_MAX = 4
"""How often a turn looks for what became ready meanwhile, before trio's own tasks have theirs."""

_KEPT_BACK_MAX = 32
"""Wires that wait to send: the gain is had by then, and the first of them has waited long enough."""

log = get_logger()


@contextlib.contextmanager
def _interrupting_trio(ours: select.epoll) -> Iterator[bool]:
    """Have trio's own wait end wherever ``ours`` has something to tell; whether that could be arranged.

    Awaiting the descriptor does the same, for an ``epoll_ctl``, a cancel scope and a step of a task each time, which is
    half of what a turn of trio's loop costs.  So it is put into trio's epoll once, level-triggered, where trio finds no
    task that waits for it and goes on.  That epoll is no part of trio's public face: where it is not found, we await.
    """
    try:
        from trio._core._run import GLOBAL_RUN_CONTEXT  # noqa: PLC0415 - may not be there

        theirs = GLOBAL_RUN_CONTEXT.runner.io_manager._epoll
        theirs.register(ours.fileno(), select.EPOLLIN)
    except (ImportError, AttributeError, OSError):
        yield False
        return
    try:
        yield True
    finally:
        theirs.unregister(ours.fileno())


class EventHandler(Protocol):
    """What the hub drives."""

    def on_events(self, events: int) -> None:
        """Something happened: a mask of ``READABLE``, ``WRITABLE`` and ``ENDED``. Registers nothing, never blocks."""

    def flush(self) -> None:
        """Send what was kept back. Wakes no task: trio may have decided how long to sleep when this is called."""

    def close(self) -> None:
        """Be gone, without a trace."""


class Steppable(Protocol):
    """A coroutine that the hub runs, one step at a time."""

    def step(self, exception: BaseException | None) -> None:
        """Run until the next wait, or to the end.

        Args:
            exception: raised at the wait; None to resume normally.
        """


class Hub(trio.abc.Instrument):
    """One epoll for all sockets of the proxy; ``run`` is its one task.

    Attributes:
        fiber: the one that runs; None while a task does.
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
        """Tell ``handler`` of the socket's events from now on."""
        fd = sock.fileno()
        self._epoll.register(fd, _EVERYTHING)
        self._handlers[fd] = handler

    def rearm(self, sock: socket.socket) -> None:
        """Tell in the next turn what there is by then, as if it had just come: for whoever left something."""
        self._epoll.modify(sock.fileno(), _EVERYTHING)

    def unregister(self, sock: socket.socket) -> None:
        """No more events; the caller closes the socket now, which takes it out of the epoll."""
        self._handlers.pop(sock.fileno(), None)

    def flush_soon(self, handler: EventHandler) -> None:
        """Have ``handler`` flushed once all that are ready had their turn."""
        if self._is_only_one:
            handler.flush()
            return
        self._kept_back.append(handler)
        if len(self._kept_back) >= _KEPT_BACK_MAX:
            self._flush()

    def resume(self, fiber: Steppable, exception: BaseException | None = None) -> None:
        """Have ``fiber`` go on, with ``exception`` raised where it waits, as soon as all who are ready were told so."""
        self._resumed.append((fiber, exception))
        if not self._is_running:
            self._wake()

    def clear_resumed(self) -> None:
        """Forget those who were to go on: they come to their end."""
        self._resumed.clear()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Every task that could run did; trio calls this before it looks for more."""
        if self._kept_back:
            self._flush()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """See to what is ready; trio calls this behind its wait, before it runs the tasks that are ready."""
        self._run_once()

    async def run(self) -> None:
        """Have events passed on until cancelled."""
        trio.lowlevel.add_instrument(self)
        try:
            with _interrupting_trio(self._epoll) as is_arranged:
                async with trio.open_nursery() as nursery:
                    if not is_arranged:
                        nursery.start_soon(self._interrupt_trio)
                    while True:
                        self._run_once()
                        if self._resumed:
                            await trio.lowlevel.checkpoint()
                        else:
                            self._sleeper = trio.lowlevel.current_task()
                            await trio.lowlevel.wait_task_rescheduled(self._abort)
        finally:
            trio.lowlevel.remove_instrument(self)
            self._flush()
            self._epoll.close()

    async def _interrupt_trio(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    def _wake(self) -> None:
        """Have ``run`` take a turn, among trio's own tasks."""
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            trio.lowlevel.reschedule(sleeper)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _run_once(self) -> None:
        """Tell whose sockets are ready, run the fibers that this wakes, send what they say, and look again.

        A turn of trio's loop for each look would cost as much as what is found.
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
        """Tell whose sockets are ready; a bug in one connection ends that one."""
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
