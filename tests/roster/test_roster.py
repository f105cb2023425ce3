from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.address import TcpAddress
from rainbowd.roster import Generation, Roster, State

if TYPE_CHECKING:
    from collections.abc import Callable


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


def test_an_observer_of_what_serves_is_called_only_if_that_changes() -> None:
    roster, calls = Roster(), [0]

    def is_called_by(change: Callable[[], object]) -> bool:
        before = calls[0]
        change()
        return calls[0] > before

    def count() -> None:
        calls[0] += 1

    roster.observe_serving(count)
    old, new, failed = (Generation(number, Path("/a"), TcpAddress("127.0.0.1", number)) for number in (1, 2, 3))
    assert not is_called_by(lambda: roster.add(old))
    assert is_called_by(lambda: roster.promote(old, live_at=0.0))
    for candidate in (new, failed):
        roster.add(candidate)
    assert is_called_by(lambda: roster.give_share(new, share_percent=5, by="client"))
    assert is_called_by(lambda: roster.promote(new, live_at=1.0))
    for generation in (old, failed):
        assert not is_called_by(partial(roster.advance, generation, State.STOPPING))
        assert not is_called_by(partial(roster.advance, generation, State.RETIRED))
    assert is_called_by(lambda: roster.close(lambda _: False))
    assert is_called_by(roster.open)
    assert is_called_by(lambda: roster.hold_while(lambda: True))
    assert is_called_by(lambda: roster.advance(new, State.STOPPING))
