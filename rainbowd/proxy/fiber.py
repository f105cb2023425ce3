"""Coroutines that run without a task, for as long as they wait for nothing but sockets.

A request that goes its usual way waits twice: for the app's answer, and for the next request.  A task of trio that
waits costs a trap, an abort function, an outcome and a turn of trio's loop each time.  So the hub runs it: a *fiber* is
stepped in the very turn in which its socket is ready.  What it cannot do is what takes a task: to wait for time, for an
event or for other tasks.  Before that, which is seldom, it becomes one, and goes on where it was.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

import outcome
import trio

from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from rainbowd.proxy.hub import Hub

_PAUSE, _BECOME_TASK = None, "become a task"

log = get_logger()


class Fiber:
    """A coroutine that the hub steps."""

    __slots__ = ("_coroutine", "_fibers")

    def __init__(self, fibers: Fibers, coroutine: Coroutine[str | None, None, None]) -> None:
        self._fibers = fibers
        self._coroutine = coroutine

    def step(self, exception: BaseException | None) -> None:
        """Run until the next wait, or to the end.

        Args:
            exception: raised where it waits.
        """
        coroutine, fibers = self._coroutine, self._fibers
        try:
            trap = coroutine.send(None) if exception is None else coroutine.throw(exception)
            if trap is _PAUSE:
                return
            fibers.nursery.start_soon(_go_on, coroutine)
        except StopIteration:
            pass
        except Exception as bug:
            log.error("bug: a connection failed", exc_info=bug)
        fibers.alive.discard(self)

    def close(self) -> None:
        """End it where it waits."""
        self._coroutine.close()


class Fibers:
    """All that there are.

    Args:
        hub: steps them.
        nursery: of those that became tasks.
    """

    def __init__(self, hub: Hub, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.alive: set[Fiber] = set()
        self._hub = hub

    def start(self, coroutine: Coroutine[str | None, None, None]) -> None:
        """Run ``coroutine``, soon."""
        fiber = Fiber(self, coroutine)
        self.alive.add(fiber)
        self._hub.resume(fiber)

    def close(self) -> None:
        """End all of them, those that became tasks too."""
        self.nursery.cancel_scope.cancel()
        self._hub.resume_nobody()
        while self.alive:
            self.alive.pop().close()


@types.coroutine
def pause() -> Generator[None]:
    """Wait until resumed: in a fiber alone."""
    yield _PAUSE


def wake(hub: Hub, waiter: Fiber | trio.lowlevel.Task, exception: BaseException | None = None) -> None:
    """Have whoever waits go on, with ``exception`` raised where it does."""
    if isinstance(waiter, Fiber):
        hub.resume(waiter, exception)
    else:
        trio.lowlevel.reschedule(waiter, outcome.Error(exception) if exception else outcome.Value(None))


class Latch:
    """The wait of one fiber or task for ``end``, which may come before it."""

    __slots__ = ("_hub", "_over", "_waiter")

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._over = False
        self._waiter: Fiber | trio.lowlevel.Task | None = None

    async def wait(self) -> None:
        """Wait until it is over."""
        if self._over:
            return
        self._waiter = self._hub.fiber
        if self._waiter is not None:
            await pause()
        else:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)

    def end(self) -> None:
        """Have it over; may be called again."""
        self._over = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            wake(self._hub, waiter)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED


@types.coroutine
def become_task(hub: Hub) -> Generator[str]:
    """Go on as a task of trio, which may wait for anything, unless it is one already."""
    if hub.fiber is not None:
        yield _BECOME_TASK


async def checkpoint(hub: Hub) -> None:
    """Let all others have their turn."""
    if hub.fiber is not None:
        hub.resume(hub.fiber)
        await pause()
    else:
        await trio.lowlevel.checkpoint()


async def _go_on(coroutine: Coroutine[str | None, None, None]) -> None:
    try:
        await _rest_of(coroutine)
    except Exception as bug:
        log.error("bug: a connection failed", exc_info=bug)


@types.coroutine
def _rest_of(coroutine: Coroutine[str | None, None, None]) -> Generator[str | None]:
    """What is left of ``coroutine``, which ``await`` takes only from its beginning."""
    yield from coroutine
