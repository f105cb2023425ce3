"""The waits at one socket: at most one to receive and one to send."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from rainbowd.proxy.reactor import Reactor
from rainbowd.proxy.waits import Waits


async def test_an_interruption_reaches_the_reader_and_the_writer_that_wait() -> None:
    waits, reached = Waits(Reactor()), list[str]()

    async def wait(name: str) -> None:
        with pytest.raises(ZeroDivisionError):
            await (waits.wait_readable() if name == "reader" else waits.wait_writable())
        reached.append(name)

    async with trio.open_nursery() as nursery:
        for name in ("reader", "writer"):
            nursery.start_soon(wait, name)
        await trio.testing.wait_all_tasks_blocked()
        assert (waits.is_receiving, waits.is_sending) == (True, True)
        assert waits.interrupt(ZeroDivisionError())
    assert sorted(reached) == ["reader", "writer"]


async def test_an_interruption_without_a_wait_is_raised_by_the_next_unless_it_is_cleared() -> None:
    waits = Waits(Reactor())
    assert not waits.interrupt(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await waits.wait_writable()
    waits.interrupt(ZeroDivisionError())
    waits.clear_interruption()
    waits.raise_interruption()
