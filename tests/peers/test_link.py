"""A follower and a leader, joined by a channel, in one process."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.peers import Channel, Follower, Leader, LeaseCounts, Leases, RemoteLease, Stop
from rainbowd.roster import Generation, Roster, State
from tests.fake_holder import FakeHolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping


class Both:
    """The roster of an agent with generations 1 (live) and 2, and that of its follower."""

    def __init__(self, first_report: Leases | None = None) -> None:
        self.agent, self.other = Roster(), Roster()
        for number in (1, 2):
            self.agent.add(Generation(number, Path("/srv/a"), TcpAddress("127.0.0.1", 20_000 + number)))
        self.agent.promote(self.agent.generations[1], live_at=1.0)
        ours, theirs = Channel.pair()
        self.channels = [ours, Channel(theirs)]
        self.follower = Follower(ours, self.agent, first_report)
        self.handled: list[Mapping[str, Any]] = []
        self.leader = Leader(self.channels[1], self.other, self.handle)

    def handle(self, content: Mapping[str, Any]) -> None:
        self.handled.append(content)

    def held(self, number: int) -> tuple[int, int]:
        """How many requests and tunnels the follower has on a generation, by the agent's roster."""
        generation = self.agent.generations[number]
        kinds = (generation.holders, generation.tunnels)
        requests, tunnels = (sum(isinstance(one, RemoteLease) for one in kind) for kind in kinds)
        return requests, tunnels


@contextlib.asynccontextmanager
async def joined(first_report: Leases | None = None, *, with_leader: bool = True) -> AsyncIterator[Both]:
    """Let both sides run until the block ends; without the leader, it reads only when ``catch_up`` is called."""
    both = Both(first_report)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(both.follower.converse)
        both.follower.send_roster()
        if with_leader:
            nursery.start_soon(both.leader.converse)
        else:
            both.leader.catch_up()
        await until(lambda: both.other.live is not None)
        await until(lambda: both.held(1) == (0, 0))
        yield both
        nursery.cancel_scope.cancel()
    for channel in both.channels:
        channel.close()


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not true():  # noqa: ASYNC110 - what is waited for arrives on a socket
            await trio.sleep(0.001)


async def test_the_follower_has_the_state_of_the_agents_roster() -> None:
    async with joined(Leases()) as both:
        both.agent.give_share(both.agent.generations[2], share_percent=25, by="cookie:id")
        await until(lambda: both.other.canary is not None)
        assert both.other.view() == both.agent.view()
        both.agent.promote(both.agent.generations[2], live_at=2.0)
        both.agent.advance(both.agent.generations[1], State.STOPPING)
        both.agent.advance(both.agent.generations[1], State.RETIRED)
        await until(lambda: list(both.other.generations) == [2])
        assert both.other.view() == both.agent.view()


async def test_a_lease_of_the_follower_holds_the_generation_until_it_ends() -> None:
    async with joined(Leases()) as both:
        one, other = FakeHolder(), FakeHolder()
        both.other.lease(one)
        both.other.lease(other)
        await until(lambda: both.held(1) == (2, 0))
        assert both.agent.generations[1].requests == 2
        both.other.generations[1].become_tunnel(one)
        await until(lambda: both.held(1) == (1, 1))
        both.other.generations[1].release_lease(other)
        both.other.generations[1].release_lease(one)
        await until(lambda: both.held(1) == (0, 0))
        assert both.agent.generations[1].requests == 2


async def test_a_superseded_generation_is_held_until_the_follower_has_the_new_state() -> None:
    async with joined(Leases(), with_leader=False) as both:
        idle: list[None] = []
        both.agent.generations[1].on_idle = lambda: idle.append(None)
        both.agent.promote(both.agent.generations[2], live_at=2.0)
        assert both.held(1) == (1, 0)
        both.other.lease(FakeHolder())  # the new state was sent, and is not read yet
        assert both.other.generations[1].requests == 1
        both.leader.catch_up()
        await until(lambda: both.agent.generations[1].requests == 1)
        assert both.held(1) == (1, 0)
        assert not idle
        both.other.generations[1].release_lease(next(iter(both.other.generations[1].holders)))
        both.leader.report()
        await until(lambda: both.held(1) == (0, 0))
        assert idle


async def test_a_roster_that_follows_gives_no_lease_in_an_old_state() -> None:
    async with joined(Leases(), with_leader=False) as both:

        def catch_up() -> bool:
            both.leader.catch_up()
            return True

        both.other.follow(catch_up)
        assert both.other.lease(FakeHolder()) is both.other.generations[1]
        both.agent.promote(both.agent.generations[2], live_at=2.0)
        assert both.other.lease(FakeHolder()) is both.other.generations[2]
        both.other.follow(lambda: False)
        assert both.other.lease(FakeHolder()) is None
        assert both.other.is_launch_due


async def test_while_requests_wait_the_live_generation_is_held_until_the_follower_knows() -> None:
    async with joined(Leases(), with_leader=False) as both:
        both.follower.is_paused = True
        both.follower.send_numbered(Stop)
        both.agent.close(lambda _: False)
        assert both.held(1) == (1, 0)


async def test_orders_reach_the_follower() -> None:
    async with joined(Leases()) as both:
        exchanges = [FakeHolder(), FakeHolder()]
        for exchange in exchanges:
            both.other.lease(exchange)
        await until(lambda: both.held(1) == (2, 0))
        for holder in list(both.agent.generations[1].holders):
            holder.cut()
        await until(lambda: all(exchange.is_cut for exchange in exchanges))
        both.follower.stop(2.0)
        await until(lambda: both.handled == [{"kind": "stop", "seconds": 2.0}])


async def test_errors_and_refused_connections_are_judged_by_the_agent() -> None:
    async with joined(Leases()) as both:
        failed: list[str] = []
        refusing: list[None] = []
        generation = both.agent.generations[1]
        generation.on_error, generation.on_refusing = failed.append, lambda: refusing.append(None)
        both.other.generations[1].count_error("GET /a: 500")
        both.other.generations[1].count_error("GET /b: 502")
        await until(lambda: generation.errors == 2)
        assert failed == ["GET /a: 500", "GET /b: 502"]
        for second in (0.0, 0.4, 0.8, 1.2):
            both.other.generations[1].on_connect_refused(second)
        await until(lambda: bool(refusing))


async def test_more_errors_than_a_report_describes_are_all_counted() -> None:
    async with joined(Leases()) as both:
        failed: list[str] = []
        both.agent.generations[1].on_error = failed.append
        for number in range(200):
            both.other.generations[1].count_error(f"GET /{number}: 500")
        await until(lambda: both.agent.generations[1].errors == 200)
        assert failed[-1] == "GET /199: 500"


async def test_the_requests_and_errors_of_an_old_agent_are_kept_but_not_judged_again() -> None:
    both = Both(Leases({1: LeaseCounts(1, 0, 100, 7)}, live=1))
    failed: list[str] = []
    generation = both.agent.generations[1]
    generation.on_error = failed.append
    both.agent.notify_observers()
    assert (generation.requests, generation.errors, both.held(1)) == (100, 7, (1, 0))
    assert not failed
    both.follower.forget()
    assert both.held(1) == (0, 0)
    for channel in both.channels:
        channel.close()


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_follower_that_has_ended_holds_nothing(is_known: bool) -> None:
    async with joined(Leases() if is_known else None) as both:
        both.other.lease(FakeHolder())
        await until(lambda: both.held(1) == (1, 0))
        both.follower.forget()
        assert both.held(1) == both.held(2) == (0, 0)
        both.agent.promote(both.agent.generations[2], live_at=2.0)
        assert both.held(1) == (0, 0)


async def test_a_follower_that_hangs_delays_nobody_and_gets_the_last_state() -> None:
    async with joined(Leases(), with_leader=False) as both, trio.open_nursery() as nursery:
        for number in range(3, 1000):  # more than the socket holds
            both.agent.add(Generation(number, Path("/srv/a"), TcpAddress("127.0.0.1", 20_000)))
            both.agent.advance(both.agent.generations[number], State.STOPPING)
            both.agent.advance(both.agent.generations[number], State.RETIRED)
        both.agent.promote(both.agent.generations[2], live_at=2.0)
        nursery.start_soon(both.leader.converse)
        await until(lambda: both.other.live is not None and both.other.live.id == 2)
        assert both.other.view() == both.agent.view()
        nursery.cancel_scope.cancel()
