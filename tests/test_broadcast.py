from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from rainbowd.broadcast import Broadcast


async def test_a_change_wakes_everyone_who_waits_and_nobody_who_waits_after_it() -> None:
    changes, woken = Broadcast(), []

    async def wait(name: str) -> None:
        await changes.wait()
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "a")
        nursery.start_soon(wait, "b")
        await wait_all_tasks_blocked()
        changes.notify()
        nursery.start_soon(wait, "c")
        await wait_all_tasks_blocked()
        assert sorted(woken) == ["a", "b"]
        changes.notify()
    assert woken[-1] == "c"
