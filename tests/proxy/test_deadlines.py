"""Limits are kept by looking now and then: none is forgotten, and none comes early."""

from __future__ import annotations

import time

import pytest
import trio

from rainbowd.proxy.deadlines import Alarm, Deadlines


class Watched:
    """The owner of an alarm, and when that expired."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.alarm = Alarm(deadlines)
        self.expired_at: list[float] = []

    def arm(self, seconds: float) -> None:
        self.alarm.arm(seconds, lambda: self.expired_at.append(time.monotonic()))


@pytest.fixture
def deadlines() -> Deadlines:
    return Deadlines()


async def keep(deadlines: Deadlines, *watched: Watched) -> None:
    """Look until all have expired."""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deadlines.run)
            while not all(one.expired_at for one in watched):  # noqa: ASYNC110 - it has no event for a test
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def test_each_expires_once_and_not_before_its_time(deadlines: Deadlines) -> None:
    watched = [Watched(deadlines) for _ in range(5)]
    due = []
    for number, one in enumerate(watched):
        one.arm(0.05 * number)
        due.append(one.alarm.deadline)
    await keep(deadlines, *watched)
    assert [len(one.expired_at) for one in watched] == [1] * 5
    assert all(one.expired_at[0] >= at for one, at in zip(watched, due, strict=True))


async def test_a_limit_may_be_put_off_brought_forward_or_dropped(deadlines: Deadlines) -> None:
    later, sooner, dropped, forgotten = (Watched(deadlines) for _ in range(4))
    for one in (later, dropped, forgotten):
        one.arm(0.1)
    sooner.arm(3600)
    later.arm(0.4)
    due = later.alarm.deadline
    sooner.arm(0.2)
    dropped.alarm.disarm()
    forgotten.alarm.remove()
    await keep(deadlines, later, sooner)
    assert later.expired_at[0] >= due
    assert not dropped.expired_at
    assert not forgotten.expired_at
