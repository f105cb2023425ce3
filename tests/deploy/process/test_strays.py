from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process import Strays, end_strays, find_strays
from rainbowd.deploy.process.members import read_entry

if TYPE_CHECKING:
    from tests.deploy.process.conftest import Launch

READY = ("sh", "-c", "echo ready; exec sleep 1000")
FAMILY = ("sh", "-c", "setsid sh -c 'trap \"\" TERM; echo ready; sleep 1000; sleep 1000' & wait")


async def test_what_is_marked_and_not_known_is_found(launch: Launch) -> None:
    apps = [launch(*READY) for _ in range(3)]
    for _ in apps:
        await launch.line()
    assert set(find_strays(launch.state_dir, {1}, 2).known) == {apps[1].pid}
    assert set(find_strays(launch.state_dir, set(), 3).known) == {app.pid for app in apps}
    assert find_strays(launch.state_dir / "other", set(), 3).known == {}
    await end_strays(find_strays(launch.state_dir, set(), 3), patience_seconds=10, hurry=trio.Event())
    for app in apps:
        assert await app.wait() == -15


async def test_strays_end_with_all_that_they_started(launch: Launch) -> None:
    app = launch(*FAMILY)
    await launch.line()
    strays = find_strays(launch.state_dir, set(), 1)
    found = set(strays.known)
    assert len(found) >= 2
    assert await end_strays(strays, patience_seconds=0.3, hurry=trio.Event()) == []
    assert await app.wait() is not None
    for pid in found:
        entry = read_entry(pid)
        assert entry is None or entry.ended


async def test_a_hurry_or_a_stop_has_no_patience_with_them(launch: Launch) -> None:
    app = launch(*FAMILY)
    await launch.line()
    strays = find_strays(launch.state_dir, set(), 1)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: end_strays(strays, patience_seconds=1000, hurry=trio.Event()))
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        await app.wait()
    assert find_strays(launch.state_dir, set(), 1).known == {}


async def test_nothing_is_looked_for_where_nothing_was_found() -> None:
    assert await end_strays(Strays({}), patience_seconds=1000, hurry=trio.Event()) == []
