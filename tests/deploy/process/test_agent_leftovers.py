from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process import Leftovers, agent_leftovers, end_leftovers, find_leftovers, launches
from rainbowd.deploy.process.procfs import read_entry

if TYPE_CHECKING:
    import pytest

    from rainbowd.deploy.process import ProcessTree
    from tests.deploy.process.conftest import Launcher

READY = ("sh", "-c", "echo ready; exec sleep 1000")
FAMILY = ("sh", "-c", "setsid sh -c 'trap \"\" TERM; echo ready; sleep 1000; sleep 1000' & wait")


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be an agent that has launched nothing: none descends from it, and there is no launch."""
    monkeypatch.setattr(launches, "_launches", [])
    monkeypatch.setattr(agent_leftovers, "ancestors", lambda *_: [])


def find(launch: Launcher, *spared: ProcessTree) -> Leftovers:
    return find_leftovers(launch.state_dir, [process.launch for process in spared], {os.getuid()})


async def test_a_process_with_a_mark_and_without_a_record_is_found(
    launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = [launch(*READY) for _ in range(3)]
    for _ in apps:
        await launch.line()
    assert find(launch).known == {}, "what this agent has launched is none"
    forget(monkeypatch)
    assert set(find(launch, apps[0]).known) == {apps[1].pid, apps[2].pid}
    assert set(find(launch).known) == {app.pid for app in apps}
    assert find_leftovers(launch.state_dir / "other", [], {os.getuid()}).known == {}
    assert find_leftovers(launch.state_dir, [], {os.getuid() + 1}).known == {}
    await end_leftovers(find(launch), patience_seconds=10, stop_now=trio.Event())
    for app in apps:
        assert await app.wait() == -15


async def test_leftovers_end_with_every_process_that_they_started(
    launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = launch(*FAMILY)
    await launch.line()
    forget(monkeypatch)
    found_strays = find(launch)
    found = set(found_strays.known)
    assert len(found) >= 2
    assert await end_leftovers(found_strays, patience_seconds=0.3, stop_now=trio.Event()) == ([], "")
    assert await app.wait() is not None
    for pid in found:
        entry = read_entry(pid)
        assert entry is None or entry.ended


async def test_leftovers_are_killed_at_once_if_the_agent_stops(
    launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = launch(*FAMILY)
    await launch.line()
    forget(monkeypatch)
    found = find(launch)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: end_leftovers(found, patience_seconds=1000, stop_now=trio.Event()))
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        await app.wait()
    assert find(launch).known == {}


async def test_nothing_is_searched_if_nothing_was_found() -> None:
    assert await end_leftovers(Leftovers({}), patience_seconds=1000, stop_now=trio.Event()) == ([], "")
