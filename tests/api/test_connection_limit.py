from __future__ import annotations

import pytest
import trio

from rainbowd.api.connection_limit import EVICTION_SECONDS, Places

pytestmark = pytest.mark.usefixtures("autojump")


async def test_the_one_longest_without_a_call_makes_way_and_one_that_is_closed_before_it() -> None:
    places = Places(3)
    first, second, third = [await places.take() for _ in range(3)]
    await trio.sleep(1)
    with first.kept():
        await trio.sleep(1)
    third.is_over = True
    await places.take()
    await places.take()
    assert [one.scope.cancel_called for one in (first, second, third)] == [False, True, True]


async def test_evictions_have_a_pace_and_free_places_have_none() -> None:
    places = Places(10)
    begun = trio.current_time()
    for _ in range(10):
        await places.take()
    assert trio.current_time() == begun
    for _ in range(101):
        await places.take()
    assert trio.current_time() - begun == pytest.approx(100 * EVICTION_SECONDS)


async def test_a_newcomer_waits_while_every_place_is_kept() -> None:
    places = Places(1)
    place = await places.take()
    with place.kept():
        with trio.move_on_after(60) as waiting:
            await places.take()
        assert waiting.cancelled_caught
    await places.take()
    assert place.scope.cancel_called


async def test_a_place_that_another_connection_has_is_not_given_back_twice() -> None:
    places = Places(1)
    first = await places.take()
    second = await places.take()
    first.leave()
    third = await places.take()
    assert (second.scope.cancel_called, third.scope.cancel_called) == (True, False)
