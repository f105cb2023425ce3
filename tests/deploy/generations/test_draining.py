from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.config import Drain
from rainbowd.deploy.generations.draining import Drainer
from rainbowd.roster import Generation

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.usefixtures("autojump")

RULES = Drain(timeout=60, tunnels=30)


class Lease:
    """Ends when it is cut, unless it is deaf."""

    def __init__(self, generation: Generation, *, is_tunnel: bool = False, is_deaf: bool = False) -> None:
        self.generation = generation
        self.is_deaf = is_deaf
        self.cut_at: float | None = None
        generation.lease(self)
        if is_tunnel:
            generation.become_tunnel(self)

    def client_identity(self, by: str) -> bytes:
        return by.encode()

    def cut(self) -> None:
        self.cut_at = trio.current_time()
        if not self.is_deaf:
            self.end()

    def end(self) -> None:
        self.generation.release_lease(self)


@pytest.fixture
def generation() -> Generation:
    return Generation(1, Path("/r"), TcpAddress("127.0.0.1", 1))


async def drained(generation: Generation, since: float | None = None) -> float:
    """How long it took."""
    draining, began = Drainer(generation), trio.current_time()
    await draining.run(RULES, began if since is None else since)
    return trio.current_time() - began


async def test_without_leases_it_is_over_at_once(autojump: MockClock, generation: Generation) -> None:
    assert await drained(generation) == 0


async def test_it_lasts_until_the_last_lease_of_either_kind_has_ended(
    autojump: MockClock, generation: Generation
) -> None:
    request, tunnel = Lease(generation), Lease(generation, is_tunnel=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_after, request, 20)
        nursery.start_soon(_end_after, tunnel, 25)
        assert await drained(generation) == 25
    assert (request.cut_at, tunnel.cut_at) == (None, None)


async def _end_after(lease: Lease, seconds: float) -> None:
    await trio.sleep(seconds)
    lease.end()


async def test_requests_are_cut_when_their_time_is_over_and_tunnels_a_few_at_a_time(
    autojump: MockClock, generation: Generation
) -> None:
    began = trio.current_time()
    request = Lease(generation)
    tunnels = [Lease(generation, is_tunnel=True) for _ in range(100)]
    assert await drained(generation) == 60
    assert request.cut_at == began + 60
    cuts = [tunnel.cut_at - began for tunnel in tunnels if tunnel.cut_at is not None]
    assert len(cuts) == 100
    assert min(cuts) == 30
    assert max(cuts) == pytest.approx(34.9)


async def test_what_went_before_counts(autojump: MockClock, generation: Generation) -> None:
    Lease(generation)
    assert await drained(generation, trio.current_time() - 50) == 10


async def test_a_lease_that_does_not_end_when_it_is_cut_is_not_waited_for(
    autojump: MockClock, generation: Generation
) -> None:
    Lease(generation, is_deaf=True)
    Lease(generation, is_tunnel=True, is_deaf=True)
    assert await drained(generation) == 61


async def test_a_request_for_old_assets_that_came_while_a_tunnel_was_open_may_finish(
    autojump: MockClock, generation: Generation
) -> None:
    tunnel = Lease(generation, is_tunnel=True)
    async with trio.open_nursery() as nursery:
        drainer = Drainer(generation)
        nursery.start_soon(drainer.run, RULES, trio.current_time())
        await trio.sleep(10)
        late = Lease(generation)
        await trio.sleep(1)
        tunnel.end()
        await trio.sleep(5)
        assert nursery.child_tasks
        late.end()
    assert late.cut_at is None
    assert trio.current_time() == 16
