"""A client's connection, as an exchange or a tunnel knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rainbowd.proxy.deadlines import Alarm
from rainbowd.proxy.failures import ClientGone, OSErrorAs

if TYPE_CHECKING:
    from rainbowd.proxy.deadlines import Deadlines
    from rainbowd.proxy.wire import Wire


class Running(Protocol):
    """The exchange that a connection carries, as the connection knows it."""

    def cut(self) -> None:
        """End the exchange or its tunnel, so that the client can tell it from a complete response."""

    def client_identity(self, by: str) -> bytes:
        """Return what identifies the client: see ``Client.client_identity``."""


class Client(Alarm):
    """The socket of a client, the bytes that it sent, its time limit, and a way to end its exchange.

    It holds the leases of its exchanges.

    Args:
        deadlines: check the time limit.
        wire: the client's socket.
        peer: the client's IP address; None on a Unix socket.

    Attributes:
        buffer: bytes received and not consumed.
        is_tunnel: whether a tunnel relays the bytes of the connection.
        exchange: the exchange that is running; None between two.
    """

    __slots__ = ("buffer", "exchange", "is_tunnel", "peer", "wire")

    def __init__(self, deadlines: Deadlines, wire: Wire, peer: bytes | None) -> None:
        super().__init__(deadlines)
        self.wire = wire
        self.peer = peer
        self.buffer = b""
        self.is_tunnel = False
        self.exchange: Running | None = None

    @property
    def name(self) -> str:
        """The client's IP address for the log."""
        return self.peer.decode() if self.peer else "unix"

    def take_buffer(self) -> bytes:
        """Return the bytes received and not consumed, and clear the buffer."""
        buffer, self.buffer = self.buffer, b""
        return buffer

    async def send(self, data: bytes) -> None:
        """Send ``data``, waiting for room if it is large.

        Raises:
            ClientGone: the connection broke.
        """
        with OSErrorAs(ClientGone):
            await self.wire.send(data)

    def cut(self) -> None:
        """End the exchange or tunnel, so that the client can tell it from a complete response."""
        if self.exchange is not None:
            self.exchange.cut()

    def client_identity(self, by: str) -> bytes:
        """Return what identifies the client of the exchange that is running.

        Args:
            by: ``client``, ``cookie:NAME`` or ``header:NAME``.
        """
        assert self.exchange is not None  # which has the lease, or waits for it
        return self.exchange.client_identity(by)
