from __future__ import annotations

from pathlib import Path

import pytest

from rainbowd.address import TcpAddress
from rainbowd.roster import Generation, IllegalTransition, State
from rainbowd.roster.generation import TRANSITIONS


class Anybody:
    def client_identity(self, by: str) -> bytes:
        return by.encode()

    def cut(self) -> None:
        raise AssertionError


def make() -> Generation:
    return Generation(1, Path("/a"), TcpAddress("127.0.0.1", 1))


@pytest.mark.parametrize("before", list(State))
@pytest.mark.parametrize("after", list(State))
def test_only_what_the_table_holds_can_happen(before: State, after: State) -> None:
    generation = make()
    generation.state = before
    if after in TRANSITIONS[before]:
        generation.advance(after)
        assert generation.state is after
    else:
        with pytest.raises(IllegalTransition, match=f"{before} -> {after}"):
            generation.advance(after)
        assert generation.state is before


def test_every_state_leads_to_retired() -> None:
    reached = {State.RETIRED}
    while more := {state for state in State if state not in reached and TRANSITIONS[state] & reached}:
        reached |= more
    assert reached == set(State)


def test_only_the_end_of_the_last_lease_is_reported() -> None:
    generation, told = make(), []
    generation.on_idle = lambda: told.append(len(generation.holders))
    first, second = Anybody(), Anybody()
    generation.lease(first)
    generation.lease(second)
    generation.release_lease(first)
    assert told == []
    generation.release_lease(second)
    assert told == [0]
    assert generation.requests == 2


def test_a_lease_becomes_a_tunnel_without_a_moment_in_between() -> None:
    generation, seen = make(), []
    holder = Anybody()
    generation.on_idle = lambda: seen.append((len(generation.holders), len(generation.tunnels)))
    generation.lease(holder)
    generation.become_tunnel(holder)
    generation.release_lease(holder)
    assert seen == [(0, 1), (0, 0)]


def test_refusing_for_a_second_is_reported() -> None:
    generation, told = make(), []
    generation.on_refusing = lambda: told.append(True)
    for now in (10.0, 10.3, 10.6, 10.9):
        generation.on_connect_refused(now)
    assert told == []
    generation.on_connect_refused(11.0)
    assert told == [True]


def test_refusals_far_apart_or_with_a_success_between_are_not_one_second() -> None:
    generation, told = make(), []
    generation.on_refusing = lambda: told.append(True)
    generation.on_connect_refused(10.0)
    generation.on_connect_refused(11.5)
    generation.on_connect_refused(11.9)
    generation.on_connect_accepted()
    generation.on_connect_refused(12.1)
    generation.on_connect_refused(12.6)
    assert told == []
