from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.peers import Channel, RemoteLease
from rainbowd.roster import Generation, Roster
from rainbowd.upgrade.draining_agent import DrainingAgent
from rainbowd.upgrade.predecessors import Predecessors
from rainbowd.upgrade.rendezvous import Rendezvous, find_upgraded
from tests.fake_holder import FakeHolder

if TYPE_CHECKING:
    from collections.abc import Callable


def roster(*numbers: int, live: int) -> Roster:
    """One with these generations."""
    made = Roster()
    for number in numbers:
        made.add(Generation(number, Path("/srv/a"), TcpAddress("127.0.0.1", 20_000 + number)))
    made.promote(made.generations[live], live_at=1.0)
    return made


def leases(of: Roster, number: int) -> int:
    """Those that another agent has."""
    generation = of.generations[number]
    return sum(isinstance(one, RemoteLease) for one in (*generation.holders, *generation.tunnels))


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on we are another process."""
    return lambda: monkeypatch.setattr(os, "getpid", lambda: 1)


async def draining(of: Roster, met: Rendezvous, nursery: trio.Nursery) -> Channel:
    """Run an agent that was upgraded; return the other end of its channel to the new agent."""
    ours, theirs = Channel.pair()
    agent = DrainingAgent(ours, met, of, on_stop=lambda _: None, on_alone=lambda: None)
    nursery.start_soon(agent.run)
    return Channel(theirs)


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not true():  # noqa: ASYNC110 - what is waited for is told by a socket
            await trio.sleep(0.001)


async def test_the_leases_of_an_upgraded_agent_are_known_to_an_agent_that_finds_it(
    tmp_path: Path, another: Callable[[], None]
) -> None:
    old, new = roster(1, 2, live=2), roster(1, 2, 3, live=2)
    one, two = FakeHolder(), FakeHolder()
    old.generations[1].lease(one)
    met = Rendezvous(tmp_path)
    another()
    async with trio.open_nursery() as nursery:
        (await draining(old, met, nursery)).close()  # killed
        found = Predecessors(tmp_path, new)
        found.find(nursery)
        new.notify_observers()
        assert (leases(new, 1), leases(new, 2), leases(new, 3)) == (2, 0, 2)  # whatever it has: but live is live
        await until(lambda: (leases(new, 1), leases(new, 3)) == (1, 0))
        old.generations[2].lease(two)
        new.promote(new.generations[3], live_at=2.0)
        assert leases(new, 2) >= 1
        await until(lambda: old.live is not None and old.live.id == 3)
        await until(lambda: leases(new, 2) == 1)
        for holder in list(new.generations[2].holders):
            holder.cut()
        await until(lambda: two.is_cut)
        assert not one.is_cut
        old.generations[1].release_lease(one)
        old.generations[2].release_lease(two)
        await until(lambda: leases(new, 1) == leases(new, 2) == 0)
        nursery.cancel_scope.cancel()
    met.close()


async def test_an_old_agent_that_has_ended_is_forgotten_with_its_leases(
    tmp_path: Path, another: Callable[[], None]
) -> None:
    old, new = roster(1, live=1), roster(1, 2, live=2)
    old.generations[1].lease(FakeHolder())
    met = Rendezvous(tmp_path)
    another()
    async with trio.open_nursery() as nursery:
        found = Predecessors(tmp_path, new)
        async with trio.open_nursery() as of_old:
            (await draining(old, met, of_old)).close()
            found.find(nursery)
            await until(lambda: leases(new, 1) == 1)
            met.close()
            of_old.cancel_scope.cancel()
        await found.until_gone()
        assert leases(new, 1) == 0
    assert find_upgraded(tmp_path, set()) == {}


def test_a_meeting_is_for_its_owner_alone_in_a_directory_of_any_length(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    met = Rendezvous(deep)
    (path,) = deep.iterdir()
    assert path.name == f"upgraded-1-{os.getpid()}"
    assert path.stat().st_mode & 0o777 == 0o600
    assert find_upgraded(deep, {os.getpid()}) == {}
    met.close()
    assert not path.exists()


def test_only_the_socket_of_a_killed_agent_is_removed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(tmp_path / "upgraded-1-4711"))
    (tmp_path / "upgraded-notes").touch()
    assert find_upgraded(tmp_path, set()) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["upgraded-notes"]


def test_the_number_is_above_all_others_and_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / f"upgraded-7-{os.getpid()}").touch()  # another process had our pid
    met = Rendezvous(tmp_path)
    assert met.number == 8
    met.close()
    with pytest.raises(OSError, match="No such file"):
        Rendezvous(tmp_path / "missing")


async def test_an_upgraded_agent_does_not_wait_for_those_that_took_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for it: neither would ever end."""
    meetings = []
    for pid in (11, 12, 13):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        meetings.append(Rendezvous(tmp_path))
    monkeypatch.setattr(os, "getpid", lambda: 12)
    channels = find_upgraded(tmp_path, {12}, below=meetings[1].number)
    assert list(channels) == [11]
    channels[11].close()
    for meeting in meetings:
        meeting.close()
