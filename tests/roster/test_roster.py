from __future__ import annotations

from pathlib import Path

from rainbowd.address import TcpAddress
from rainbowd.roster import Generation, Roster, State


class Anybody:
    def client_identity(self, by: str) -> bytes:
        return by.encode()

    def cut(self) -> None:
        raise AssertionError


def add(roster: Roster, number: int) -> Generation:
    generation = Generation(number, Path("/a"), TcpAddress("127.0.0.1", number))
    roster.add(generation)
    return generation


def test_a_lease_is_on_the_live_generation_and_on_nothing_if_none_is_live() -> None:
    roster = Roster()
    assert roster.lease(Anybody()) is None
    candidate = add(roster, 1)
    assert roster.lease(Anybody()) is None
    roster.promote(candidate, live_at=5.0)
    assert roster.lease(Anybody()) is candidate
    assert (candidate.requests, candidate.live_at) == (1, 5.0)


def test_a_switch_supersedes_the_one_before_and_keeps_its_leases() -> None:
    roster, holder = Roster(), Anybody()
    old, new = add(roster, 1), add(roster, 2)
    roster.promote(old, live_at=0.0)
    roster.lease(holder)
    roster.promote(new, live_at=1.0)
    assert (old.state, new.state, roster.live) == (State.DRAINING, State.LIVE, new)
    assert old.holders == {holder}


def test_observers_never_see_two_live_nor_none_during_a_switch() -> None:
    roster, seen = Roster(), []
    first, second = add(roster, 1), add(roster, 2)
    roster.promote(first, live_at=0.0)
    roster.observe(lambda: seen.append([g.id for g in roster.generations.values() if g.state is State.LIVE]))
    roster.promote(second, live_at=1.0)
    assert seen == [[2]]


def test_a_live_generation_that_stops_leaves_nothing_live() -> None:
    roster = Roster()
    generation = add(roster, 1)
    roster.promote(generation, live_at=0.0)
    roster.advance(generation, State.STOPPING)
    assert roster.live is None
    assert roster.generations == {1: generation}
    roster.advance(generation, State.RETIRED)
    assert roster.generations == {}


def test_whether_a_launch_is_due_is_computed_when_a_request_has_to_wait() -> None:
    roster, due = Roster(), [True]
    assert not roster.is_launch_due
    changes: list[bool] = []
    roster.observe(lambda: changes.append(roster.is_launch_due))
    roster.hold_while(lambda: due[0])
    due[0] = False
    assert not roster.is_launch_due
    assert changes == [True]
