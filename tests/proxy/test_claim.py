"""The claim on the app, without a server: a lease and a connection, and how both end."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from rainbowd.http1 import Refusal
from rainbowd.proxy.claim import Claim
from rainbowd.proxy.failures import AppStoppedReading
from rainbowd.roster import State
from tests.proxy.alone import alone


class Clock:
    """Records the limits that a claim starts."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start_response_timeout(self) -> None:
        self.calls.append("response")

    def check_client_end(self) -> None:
        self.calls.append("client")


async def test_a_claim_connects_and_its_connection_is_reused_by_the_next() -> None:
    async with alone() as parts:
        claim, clock = Claim(parts.client, parts.context), Clock()
        assert claim.take_pooled() is None
        upstream = await claim.connect(clock, pooled=True)
        assert (claim.require_upstream(), clock.calls) == (upstream, ["response"])
        assert parts.generation.holders == {parts.client}
        claim.return_to_pool()
        claim.release(aborted=False)
        assert not parts.generation.holders
        again = Claim(parts.client, parts.context)
        assert again.take_pooled() is upstream
        again.release(aborted=False)
        assert upstream.wire.is_closed


async def test_a_claim_without_a_live_generation_is_refused() -> None:
    async with alone(is_live=False) as parts:
        claim, clock = Claim(parts.client, parts.context), Clock()
        with pytest.raises(Refusal) as refused:
            await claim.connect(clock, pooled=True)
        assert (refused.value.status, clock.calls) == (503, ["client"])
        claim.release(aborted=False)


async def test_a_claim_waits_for_a_generation_that_is_due_and_may_be_interrupted() -> None:
    async with alone(is_live=False) as parts:
        parts.context.roster.hold_while(lambda: True)
        claim = Claim(parts.client, parts.context)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def connect() -> None:
                with pytest.raises(ZeroDivisionError):
                    await claim.connect(Clock(), pooled=True)

            await trio.testing.wait_all_tasks_blocked()
            assert claim.waits_on is not None
            claim.waits_on.interrupt(ZeroDivisionError())
        claim.release(aborted=False)
        assert claim.waits_on is None


async def test_a_claim_without_a_connection_has_nothing_to_send_to() -> None:
    async with alone() as parts:
        with pytest.raises(AppStoppedReading):
            Claim(parts.client, parts.context).require_upstream()


async def test_the_lease_of_a_tunnel_counts_as_a_tunnel() -> None:
    async with alone() as parts:
        claim = Claim(parts.client, parts.context)
        await claim.connect(Clock(), pooled=False)
        claim.become_tunnel()
        assert (parts.generation.holders, parts.generation.tunnels) == (set(), {parts.client})
        claim.release(aborted=False)
        assert not parts.generation.tunnels


async def test_a_generation_that_is_no_longer_live_gets_no_connection_back() -> None:
    async with alone() as parts:
        claim = Claim(parts.client, parts.context)
        upstream = await claim.connect(Clock(), pooled=False)
        parts.context.roster.advance(parts.generation, State.DRAINING)
        claim.return_to_pool()
        claim.release(aborted=False)
        assert upstream.wire.is_closed
