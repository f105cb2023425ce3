"""The parts of the proxy without a server: a context, a client and an app that listens."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.address import TcpAddress
from rainbowd.config import Hold, Limits
from rainbowd.http1 import RequestHead, parse_request
from rainbowd.proxy import ProxySettings
from rainbowd.proxy.client import Client
from rainbowd.proxy.context import Context
from rainbowd.proxy.wire import Wire
from rainbowd.roster import Generation, Roster
from tests.proxy.scripted import GET, PATIENCE_SECONDS, Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Parts:
    """A context with a live generation, and a client.

    Attributes:
        client: the proxy's end of the client's connection.
        far: the client's own end.
    """

    def __init__(self, listener: socket.socket) -> None:
        settings = ProxySettings(limits=Limits(), hold=Hold(), trust=())
        self.context = Context(Roster(), settings)
        self.generation = Generation(1, Path(), TcpAddress(*listener.getsockname()))
        self._app = trio.socket.from_stdlib_socket(listener)
        far, near = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self.far = Peer(trio.socket.from_stdlib_socket(far))
        self.client = Client(self.context.deadlines, Wire(self.context.reactor, near), b"192.0.2.7")

    async def accept(self) -> Peer:
        """Return the app's end of the next connection."""
        sock, _ = await self._app.accept()
        return Peer(sock)

    def close(self) -> None:
        self.context.pool.close()
        self.client.wire.close()
        self.client.remove()
        self.far.close()


@contextlib.asynccontextmanager
async def alone(*, is_live: bool = True) -> AsyncIterator[Parts]:
    """Run the reactor for the parts, and close them in the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener, trio.fail_after(PATIENCE_SECONDS):
        listener.setblocking(False)
        parts = Parts(listener)
        parts.context.roster.add(parts.generation)
        if is_live:
            parts.context.roster.promote(parts.generation, live_at=0.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parts.context.reactor.run)
            with contextlib.closing(parts):
                yield parts
            nursery.cancel_scope.cancel()


def head(data: bytes = GET) -> RequestHead:
    """Return the parsed head of a request."""
    return parse_request(data, trusted=False, fields_max=100)
