"""The clients that are connected, and the wait for the last of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

from rainbowd.broadcast import Broadcast
from rainbowd.proxy.tally import Tally


class Connected(Protocol):
    """The connection of a client, as the server ends it."""

    is_tunnel: bool

    def close(self) -> None:
        """Close the socket, and remove the connection from the set."""

    def close_if_idle(self) -> None:
        """Close the connection if it is between two requests."""

    def cut(self) -> None:
        """End the exchange or tunnel, so that the client can tell it from a complete response."""


class Clients:
    """The connections that are open.

    Attributes:
        served: the connections within the limit.
        rejected: the connections beyond it, which receive a refusal.
        tally: the number of connections that are served, with those of the other processes that serve together.
    """

    def __init__(self) -> None:
        self.served: set[Connected] = set()
        self.rejected: set[Connected] = set()
        self.tally = Tally()
        self._emptied = Broadcast()

    def has_room(self, limit: int | None) -> bool:
        """Return whether one more connection is within ``limit``, in all processes together; None for no limit."""
        return limit is None or self.tally.total(len(self.served)) < limit

    def add(self, client: Connected) -> None:
        """Add ``client``, a connection that is served."""
        self.served.add(client)
        self.tally.set(len(self.served))

    def discard(self, client: Connected) -> None:
        """Remove ``client``, which is closed; idempotent."""
        self.served.discard(client)
        self.rejected.discard(client)
        self.tally.set(len(self.served))
        if not self.served and not self.rejected:
            self._emptied.notify()

    async def until_empty(self) -> None:
        """Wait until no connection is open."""
        while self.served or self.rejected:
            await self._emptied.wait()

    @property
    def exchanging(self) -> Collection[Connected]:
        """The connections that are served and are not tunnels."""
        return [client for client in self.served if not client.is_tunnel]

    @property
    def tunnels(self) -> Collection[Connected]:
        """The connections that are tunnels."""
        return [client for client in self.served if client.is_tunnel]
