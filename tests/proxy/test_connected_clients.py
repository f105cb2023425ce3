"""The set of connections that are open."""

from __future__ import annotations

import trio
import trio.testing

from rainbowd.proxy.connected_clients import Clients


class Stub:
    """A connection of which only the kind matters."""

    def __init__(self, *, is_tunnel: bool = False) -> None:
        self.is_tunnel = is_tunnel

    def close(self) -> None: ...

    def close_if_idle(self) -> None: ...

    def cut(self) -> None: ...


async def test_the_wait_ends_with_the_last_connection() -> None:
    clients, served, rejected = Clients(), Stub(), Stub()
    await clients.until_empty()
    clients.served.add(served)
    clients.rejected.add(rejected)
    is_empty = trio.Event()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            await clients.until_empty()
            is_empty.set()

        for client in (served, rejected):
            await trio.testing.wait_all_tasks_blocked()
            assert not is_empty.is_set()
            clients.discard(client)
    assert is_empty.is_set()


def test_tunnels_are_counted_apart_from_exchanges() -> None:
    clients, tunnel, other = Clients(), Stub(is_tunnel=True), Stub()
    clients.served |= {tunnel, other}
    assert (list(clients.tunnels), list(clients.exchanging)) == ([tunnel], [other])
