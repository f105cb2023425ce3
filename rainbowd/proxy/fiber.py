"""Coroutines that run without a task, for as long as they wait for nothing but sockets.

A typical request waits twice: for the app's response, and for the next request.  If a trio task waits, each wait costs
a trap, an abort function, an outcome and a pass of trio's loop.  So the reactor runs the coroutine instead: it steps a
*fiber* in the same pass in which the fiber's socket is ready.  A fiber cannot wait for time, for an event or for other
tasks.  Before it does, which is rare, it becomes a task and continues at the same point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import outcome
import trio

from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Generator

    from rainbowd.proxy.reactor import Reactor, Steppable

_PAUSE, _BECOME_TASK = None, "become a task"

log = get_logger()


class Fiber:
    """A coroutine that the reactor runs step by step.

    Args:
        fibers: the set that the fiber belongs to.
        coroutine: yields at each wait, and whenever it must become a task.
    """

    __slots__ = ("_coroutine", "_fibers")

    def __init__(self, fibers: Fibers, coroutine: Coroutine[str | None, None, None]) -> None:
        self._fibers = fibers
        self._coroutine = coroutine

    def step(self, exception: BaseException | None) -> None:
        """Run until the next wait, or to the end.

        Args:
            exception: raised at the wait; None to resume normally.
        """
        coroutine, fibers = self._coroutine, self._fibers
        try:
            trap = coroutine.send(None) if exception is None else coroutine.throw(exception)
            if trap is _PAUSE:
                return
            fibers.nursery.start_soon(_run_as_task, coroutine)
        except StopIteration:
            pass
        except Exception as bug:
            log.error("bug: a connection failed", exc_info=bug)
        fibers.alive.discard(self)

    def close(self) -> None:
        """Raise ``GeneratorExit`` in the coroutine, at its current wait."""
        self._coroutine.close()


class Fibers:
    """All fibers of one reactor.

    Args:
        reactor: steps the fibers.
        nursery: runs the fibers that became tasks.

    Attributes:
        alive: the fibers that have neither ended nor become tasks.
    """

    def __init__(self, reactor: Reactor, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.alive: set[Fiber] = set()
        self._reactor = reactor

    def start(self, coroutine: Coroutine[str | None, None, None]) -> None:
        """Run ``coroutine`` as a fiber, beginning with the reactor's next pass."""
        fiber = Fiber(self, coroutine)
        self.alive.add(fiber)
        self._reactor.resume(fiber)

    def close(self) -> None:
        """End all fibers, and cancel those that became tasks."""
        self.nursery.cancel_scope.cancel()
        self._reactor.clear_resumed()
        while self.alive:
            self.alive.pop().close()


class _Trap:
    """A wait of a fiber: an awaitable that yields a value to ``Fiber.step``.

    A class, because mypyc compiles no ``types.coroutine``.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __await__(self) -> Generator[str | None, None, None]:
        yield self._value


_paused, _becoming_task = _Trap(_PAUSE), _Trap(_BECOME_TASK)


def pause() -> Awaitable[None]:
    """Wait until the reactor resumes this fiber; must not be called from a task."""
    return _paused


def wake(reactor: Reactor, waiter: Steppable | trio.lowlevel.Task, exception: BaseException | None = None) -> None:
    """Resume a fiber or task that waits.

    Args:
        reactor: steps the fibers.
        waiter: the fiber or task.
        exception: raised at the wait; None to resume normally.
    """
    if isinstance(waiter, Fiber):
        reactor.resume(waiter, exception)
    else:
        task = cast("trio.lowlevel.Task", waiter)  # the reactor steps nothing but fibers
        trio.lowlevel.reschedule(task, outcome.Error(exception) if exception else outcome.Value(None))


class Latch:
    """A one-time event that one fiber or task waits for; it may be set before the wait."""

    __slots__ = ("_is_set", "_reactor", "_waiter")

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._is_set = False
        self._waiter: Steppable | trio.lowlevel.Task | None = None

    async def wait(self) -> None:
        """Wait until the latch is set."""
        if self._is_set:
            return
        self._waiter = self._reactor.fiber
        if self._waiter is not None:
            await pause()
        else:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)

    def set(self) -> None:
        """Set the latch and wake the waiter. Idempotent."""
        self._is_set = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            wake(self._reactor, waiter)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED


async def become_task(reactor: Reactor) -> None:
    """Continue as a trio task, which can wait for anything. Does nothing in a task."""
    if reactor.fiber is not None:
        await _becoming_task


async def checkpoint(reactor: Reactor) -> None:
    """Let all other fibers and tasks run before continuing."""
    if reactor.fiber is not None:
        reactor.resume(reactor.fiber)
        await pause()
    else:
        await trio.lowlevel.checkpoint()


async def _run_as_task(coroutine: Coroutine[str | None, None, None]) -> None:
    try:
        await _Remainder(coroutine)
    except Exception as bug:
        log.error("bug: a connection failed", exc_info=bug)


class _Remainder:
    """The rest of a started coroutine, which ``await`` would refuse."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[str | None, None, None]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[object, None, None]:
        return self._coroutine.__await__()
