"""The canary in the roster: no client sees two versions during one canary, whatever happens in whatever order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rainbowd.address import TcpAddress
from rainbowd.roster import Generation, Roster, State

CLIENTS = [b"192.0.2.%d" % number for number in range(200)]
SHARES = (5.0, 25.0, 50.0)


class Client:
    def __init__(self, address: bytes) -> None:
        self.address = address

    def client_identity(self, by: str) -> bytes:
        assert by == "client"
        return self.address

    def cut(self) -> None: ...


def add(roster: Roster, number: int) -> Generation:
    generation = Generation(number, Path("/a"), TcpAddress("127.0.0.1", number))
    roster.add(generation)
    return generation


def test_without_a_canary_or_a_closed_site_a_lease_is_nothing_but_the_live_generation() -> None:
    roster = Roster()
    plain = roster.lease
    live, canary = add(roster, 1), add(roster, 2)
    roster.promote(live, live_at=0.0)
    assert roster.lease == plain
    roster.give_share(canary, share_percent=5, by="client")
    assert roster.lease != plain
    roster.promote(canary, live_at=1.0)
    assert (roster.lease, roster.canary, roster.share_percent) == (plain, None, 0)
    roster.close(lambda _: False)
    assert roster.lease(Client(b"a")) is None
    roster.open()
    assert roster.lease == plain


@pytest.mark.parametrize("share", SHARES)
def test_a_canary_gets_about_its_share(share: float) -> None:
    roster = Roster()
    live, canary = add(roster, 1), add(roster, 2)
    roster.promote(live, live_at=0.0)
    roster.give_share(canary, share_percent=share, by="client")
    clients = [Client(b"10.0.%d.%d" % divmod(number, 256)) for number in range(4000)]
    assert abs(sum(roster.lease(client) is canary for client in clients) - 40 * share) < 4 * (40 * share) ** 0.5
    assert (live.requests + canary.requests, live.errors) == (4000, 0)


@pytest.mark.parametrize("end", [State.DRAINING, State.STOPPING])
def test_a_canary_that_ends_gives_its_clients_back(end: State) -> None:
    roster = Roster()
    live, canary = add(roster, 1), add(roster, 2)
    roster.promote(live, live_at=0.0)
    roster.give_share(canary, share_percent=50, by="client")
    roster.advance(canary, end)
    assert {roster.lease(Client(address)) for address in CLIENTS} == {live}


class Canaries(RuleBasedStateMachine):
    """Deploys with canaries, of which some fail, while clients come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster()
        self.number = 0
        self.leases: list[tuple[Client, Generation]] = []
        self.seen: dict[bytes, set[int]] = {}
        self.promote_new()

    def promote_new(self) -> None:
        self.number += 1
        self.roster.promote(add(self.roster, self.number), live_at=0.0)

    @rule(index=st.integers(0, len(CLIENTS) - 1))
    def request(self, index: int) -> None:
        client = Client(CLIENTS[index])
        generation = self.roster.lease(client)
        assert generation is (self.roster.choose(client))
        if generation is None:
            return
        self.leases.append((client, generation))
        assert sum(client in one.holders for one in self.roster.generations.values()) == 1
        if self.roster.canary is not None:
            self.seen.setdefault(client.address, set()).add(generation.id)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def end_request(self, data: st.DataObject) -> None:
        client, generation = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        generation.release_lease(client)

    @precondition(lambda self: self.roster.canary is None and self.roster.live is not None)
    @rule()
    def begin(self) -> None:
        self.number += 1
        self.seen = {}
        self.roster.give_share(add(self.roster, self.number), share_percent=SHARES[0], by="client")

    @precondition(lambda self: self.roster.canary is not None and self.roster.share_percent < SHARES[-1])
    @rule()
    def next_step(self) -> None:
        canary, share = self.roster.canary, self.roster.share_percent
        assert canary is not None
        before = {address for address in CLIENTS if self.roster.choose(Client(address)) is canary}
        self.roster.give_share(canary, share_percent=SHARES[SHARES.index(share) + 1], by="client")
        after = {address for address in CLIENTS if self.roster.choose(Client(address)) is canary}
        assert before <= after, "a step moved a client back"
        self.seen = {address: seen for address, seen in self.seen.items() if address not in after - before}

    @precondition(lambda self: self.roster.canary is not None)
    @rule(end=st.sampled_from([State.LIVE, State.DRAINING, State.STOPPING]))
    def finish(self, end: State) -> None:
        canary = self.roster.canary
        assert canary is not None
        if end is State.LIVE:
            self.roster.promote(canary, live_at=0.0)
        else:
            self.roster.advance(canary, end)
        assert self.roster.canary is None

    @precondition(lambda self: self.roster.live is not None)
    @rule()
    def crash_live(self) -> None:
        assert self.roster.live is not None
        self.roster.advance(self.roster.live, State.STOPPING)

    @precondition(lambda self: self.roster.live is None)
    @rule()
    def relaunch(self) -> None:
        self.seen = {}  # another generation of the same version
        self.promote_new()

    @rule()
    def retire_idle(self) -> None:
        for generation in list(self.roster.generations.values()):
            if generation.state is State.DRAINING and not generation.holders:
                self.roster.advance(generation, State.STOPPING)
            if generation.state is State.STOPPING:
                self.roster.advance(generation, State.RETIRED)

    @rule()
    def close_and_open(self) -> None:
        self.roster.close(lambda _: False)
        assert self.roster.lease(Client(CLIENTS[0])) is None
        self.roster.open()

    @invariant()
    def at_most_one_is_live_and_the_share_is_kept(self) -> None:
        states = [one.state for one in self.roster.generations.values()]
        assert states.count(State.LIVE) == (self.roster.live is not None)
        assert states.count(State.CANARY) == (self.roster.canary is not None)
        assert all(len(seen) == 1 for seen in self.seen.values()), "a client saw two versions in one step"
        if self.roster.canary is not None:
            share = self.roster.share_percent / 100
            got = sum(self.roster.choose(Client(address)) is self.roster.canary for address in CLIENTS)
            assert got <= len(CLIENTS) * share + 5 * (len(CLIENTS) * share) ** 0.5


TestCanaries = Canaries.TestCase
TestCanaries.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
