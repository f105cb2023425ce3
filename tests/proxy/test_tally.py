from __future__ import annotations

from array import array

import pytest

from rainbowd.config import Hold, Limits
from rainbowd.http1 import Refusal
from rainbowd.proxy.context import Context
from rainbowd.proxy.hold import HeldRequest
from rainbowd.proxy.settings import ProxySettings
from rainbowd.proxy.tally import Tally
from rainbowd.roster import Roster


class Holder:
    is_tunnel = False

    def client_identity(self, by: str) -> bytes:
        return by.encode()

    def cut(self) -> None: ...

    def close(self) -> None: ...

    def close_if_idle(self) -> None: ...


def numbers(*values: int) -> memoryview:
    return memoryview(array("q", values))


def test_a_process_that_counts_alone_has_the_sum() -> None:
    tally = Tally()
    tally.set(3)
    assert tally.total(3) == 3


def test_the_sum_has_the_present_own_part_and_those_of_the_others() -> None:
    parts = numbers(5, 1, 2)
    tally = Tally(parts, 1)
    tally.set(4)
    assert list(parts) == [5, 4, 2]
    assert tally.total(6) == 13


async def test_the_limits_are_those_of_all_processes_together() -> None:
    settings = ProxySettings(limits=Limits(connections=10), hold=Hold(limit=2), trust=())
    context = Context(Roster(), settings)
    connections, held_requests = numbers(9, 0), numbers(1, 0)
    context.share(connections, held_requests, 1)
    assert context.clients.has_room(10)
    client = Holder()
    context.clients.add(client)
    assert list(connections) == [9, 1]
    assert not context.clients.has_room(10)
    assert context.clients.has_room(None)
    context.clients.discard(client)
    assert list(connections) == [9, 0]
    with pytest.raises(Refusal, match="not running"):
        await context.held_requests.lease(Holder(), HeldRequest(), settings.hold)
    held_requests[0] = 2
    with pytest.raises(Refusal, match="Too many"):
        await context.held_requests.lease(Holder(), HeldRequest(), settings.hold)
    assert list(held_requests) == [2, 0]


async def test_processes_that_serve_together_accept_few_connections_at_a_time() -> None:
    context = Context(Roster(), ProxySettings(limits=Limits(), hold=Hold(), trust=()))
    alone = context.accepts_per_turn
    context.share(numbers(0, 0), numbers(0, 0), 0)
    assert context.accepts_per_turn < alone
