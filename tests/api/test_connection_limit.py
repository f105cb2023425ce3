from __future__ import annotations

import pytest
import trio

from rainbowd.api.connection_limit import EVICTION_SECONDS, ConnectionLimit

pytestmark = pytest.mark.usefixtures("autojump")


async def test_a_closed_connection_is_evicted_first_then_the_one_longest_without_a_call() -> None:
    limit = ConnectionLimit(3)
    first, second, third = [await limit.admit() for _ in range(3)]
    await trio.sleep(1)
    with first.kept():
        await trio.sleep(1)
    third.is_over = True
    await limit.admit()
    await limit.admit()
    assert [each.scope.cancel_called for each in (first, second, third)] == [False, True, True]


async def test_evictions_have_a_pace_and_free_room_needs_none() -> None:
    limit = ConnectionLimit(10)
    begun = trio.current_time()
    for _ in range(10):
        await limit.admit()
    assert trio.current_time() == begun
    for _ in range(101):
        await limit.admit()
    assert trio.current_time() - begun == pytest.approx(100 * EVICTION_SECONDS)


async def test_a_newcomer_waits_while_every_connection_is_kept() -> None:
    limit = ConnectionLimit(1)
    admission = await limit.admit()
    with admission.kept():
        with trio.move_on_after(60) as waiting:
            await limit.admit()
        assert waiting.cancelled_caught
    await limit.admit()
    assert admission.scope.cancel_called


async def test_an_evicted_connection_that_ends_leaves_the_count_alone() -> None:
    limit = ConnectionLimit(1)
    first = await limit.admit()
    second = await limit.admit()
    first.end()
    third = await limit.admit()
    assert (second.scope.cancel_called, third.scope.cancel_called) == (True, False)
