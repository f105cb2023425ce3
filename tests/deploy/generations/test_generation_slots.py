from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from rainbowd.address import TcpAddress
from rainbowd.deploy.generations.generation_slots import Slots
from rainbowd.roster import Generation, Roster, State


async def test_a_slot_is_free_once_a_generation_is_retired_and_not_before() -> None:
    roster = Roster()
    slots = Slots(roster)
    one, two = (Generation(number, Path("/r"), TcpAddress("127.0.0.1", number)) for number in (1, 2))
    roster.add(one)
    assert slots.is_free(2)
    roster.add(two)
    assert not slots.is_free(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slots.until_free, 2)
        await trio.testing.wait_all_tasks_blocked()
        roster.advance(one, State.STOPPING)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        roster.advance(one, State.RETIRED)
    assert slots.is_free(2)
