"""What a fiber may do without a task, and how it becomes one."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from rainbowd.proxy.fiber import Fibers, Latch, become_task, checkpoint, pause
from rainbowd.proxy.reactor import Reactor
from rainbowd.proxy.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.proxy.conftest import Line


class Place:
    """A reactor, its fibers, and a wire with its other end."""

    def __init__(self, reactor: Reactor, fibers: Fibers) -> None:
        self.reactor = reactor
        self.fibers = fibers
        self.far, near = socket.socketpair()
        near.setblocking(False)
        self.wire = Wire(reactor, near)

    @property
    def is_in_task(self) -> bool:
        """Whether the caller runs in a task."""
        return self.reactor.fiber is None


@contextlib.asynccontextmanager
async def place() -> AsyncIterator[Place]:
    reactor = Reactor()
    with trio.fail_after(20):
        async with trio.open_nursery() as beneath:
            beneath.start_soon(reactor.run)
            async with trio.open_nursery() as tasks:
                fibers = Fibers(reactor, tasks)
                here = Place(reactor, fibers)
                yield here
                fibers.close()
            here.wire.close()
            here.far.close()
            beneath.cancel_scope.cancel()


async def test_a_fiber_waits_for_a_socket_without_a_task() -> None:
    heard: list[tuple[bytes, bool]] = []

    async def listen(here: Place) -> None:
        heard.extend([(await here.wire.recv(), here.is_in_task) for _ in range(2)])
        done.set()

    done = trio.Event()
    async with place() as here:
        tasks = trio.lowlevel.current_statistics().tasks_living
        here.fibers.start(listen(here))
        for word in (b"one", b"two"):
            await trio.testing.wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == tasks
            here.far.send(word)
        await done.wait()
        assert heard == [(b"one", False), (b"two", False)]
        assert not here.fibers.alive


async def test_a_fiber_that_becomes_a_task_may_wait_for_anything() -> None:
    steps: list[bool] = []

    async def live(here: Place) -> None:
        for _ in range(2):
            await become_task(here.reactor)
            steps.append(here.is_in_task)
            with trio.move_on_after(0):
                await here.wire.recv()
        await asked.wait()
        steps.append(await here.wire.recv() == b"x")
        done.set()

    asked, done = trio.Event(), trio.Event()
    async with place() as here:
        here.fibers.start(live(here))
        await trio.testing.wait_all_tasks_blocked()
        here.far.send(b"x")
        asked.set()
        await done.wait()
        assert steps == [True, True, True]


async def test_an_interruption_is_raised_where_a_fiber_waits() -> None:
    async def listen(here: Place) -> None:
        with pytest.raises(ZeroDivisionError):
            await here.wire.recv()
        done.set()

    done = trio.Event()
    async with place() as here:
        here.fibers.start(listen(here))
        await trio.testing.wait_all_tasks_blocked()
        assert here.wire.interrupt(ZeroDivisionError())
        await done.wait()


@pytest.mark.parametrize("as_task", [False, True], ids=["fiber", "task"])
@pytest.mark.parametrize("first", ["wait", "end"])
async def test_a_pause_ends_whichever_comes_first(first: str, *, as_task: bool) -> None:
    async def wait(here: Place) -> None:
        if as_task:
            await become_task(here.reactor)
        await paused.wait()
        done.set()

    done = trio.Event()
    async with place() as here:
        paused = Latch(here.reactor)
        if first == "end":
            paused.set()
        here.fibers.start(wait(here))
        await trio.testing.wait_all_tasks_blocked()
        assert done.is_set() == (first == "end")
        for _ in range(2):
            paused.set()
        await done.wait()


async def test_a_pause_may_be_cancelled() -> None:
    async with place() as here:
        paused = Latch(here.reactor)
        with trio.move_on_after(0) as scope:
            await paused.wait()
        assert scope.cancelled_caught
        paused.set()


async def test_a_fiber_that_never_waits_lets_all_others_have_their_turn() -> None:
    async def spin(here: Place) -> None:
        while not stop.is_set():
            await checkpoint(here.reactor)
        done.set()

    async def sleep() -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        stop.set()

    stop, done = trio.Event(), trio.Event()
    async with place() as here, trio.open_nursery() as nursery:
        here.fibers.start(spin(here))
        nursery.start_soon(sleep)
        await done.wait()


@pytest.mark.parametrize("as_task", [False, True], ids=["fiber", "task"])
async def test_a_bug_in_one_is_logged_and_ends_that_one(lines: list[Line], *, as_task: bool) -> None:
    async def fail(here: Place) -> None:
        if as_task:
            await become_task(here.reactor)
        raise ZeroDivisionError

    async def live(_: Place) -> None:
        done.set()

    done = trio.Event()
    async with place() as here:
        here.fibers.start(fail(here))
        await trio.testing.wait_all_tasks_blocked()
        here.fibers.start(live(here))
        await done.wait()
        assert not here.fibers.alive
    assert [(level, event) for level, event, _ in lines] == [("error", "bug: a connection failed")]
    lines.clear()


async def test_the_end_closes_fibers_and_tasks_where_they_wait() -> None:
    ended: list[str] = []

    async def listen(here: Place, name: str) -> None:
        try:
            if name == "task":
                await become_task(here.reactor)
                await trio.sleep_forever()
            await pause()
        finally:
            ended.append(name)

    async with place() as here:
        here.fibers.start(listen(here, "fiber"))
        here.fibers.start(listen(here, "task"))
        await trio.testing.wait_all_tasks_blocked()
    assert sorted(ended) == ["fiber", "task"]


async def test_who_was_to_go_on_at_the_end_does_not() -> None:
    went_on = False

    async def wait(_: Place) -> None:
        nonlocal went_on
        await pause()
        went_on = True

    async with place() as here:
        here.fibers.start(wait(here))
        await trio.testing.wait_all_tasks_blocked()
        (fiber,) = here.fibers.alive
        here.reactor.resume(fiber)
    assert not went_on
