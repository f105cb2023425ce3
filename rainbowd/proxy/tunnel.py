"""Tunnels: connections after ``101 Switching Protocols``, which relay bytes in both directions.

A frame is so short that stepping a coroutine would cost as much as relaying the frame.  So the event handlers of the
two sockets relay bytes themselves, and the fiber that opened the tunnel only waits for its end.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from rainbowd.proxy.fiber import Latch

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.proxy.client import Client
    from rainbowd.proxy.reactor import Reactor
    from rainbowd.proxy.wire import Wire

HALF_CLOSED_SECONDS = 10.0
"""How long one side may be silent after the other side's end. It has received a FIN, and may send the rest."""

BROKEN_SECONDS = 0.5
"""After a reset of one side: how long the data that it sent before may take to be relayed."""

_TURN_BYTES = 256 << 10
"""How many bytes one direction may move before other sockets are handled."""


class Tunnel:
    """A relay of bytes between a client and the app.

    The end of one side is relayed, and the other side may continue until its own end.  If one side breaks, the other
    is reset.  Both are closed at the end.

    Args:
        client: the client's connection.
        upstream: the connection to the app.
        reactor: calls the event handlers.

    Attributes:
        half_closed: whether the end of one side has been relayed.
    """

    __slots__ = ("_broken", "_client", "_closed", "_upstream", "half_closed")

    def __init__(self, client: Client, upstream: Wire, reactor: Reactor) -> None:
        self.half_closed = False
        self._broken = False
        self._client = client
        self._upstream = upstream
        self._closed = Latch(reactor)

    async def run(self, to_client: bytes, to_upstream: bytes) -> None:
        """Relay bytes until both sides have ended, or the tunnel is closed.

        Args:
            to_client: bytes to send to the client first.
            to_upstream: bytes to send to the app first.
        """
        client, upstream = self._client.wire, self._upstream
        self._client.is_tunnel = True
        try:
            for source, sink, first in ((upstream, client, to_client), (client, upstream, to_upstream)):
                source.on_ended = self._on_ended
                _Direction(self, source, sink).start(first)
            self._on_ended()  # a side may have broken before its handler was set
            await self._closed.wait()
        finally:
            self._client.disarm()
            self._client.is_tunnel = False
            for wire in (client, upstream):
                wire.flush()
                if self._broken:
                    wire.reset()
                wire.close()

    def close(self) -> None:
        """End the tunnel: its time limit passed, its generation was drained, or the agent stops."""
        self._closed.set()

    def fail(self) -> None:
        """End the tunnel and reset both sides, because one side is broken."""
        self._broken = True
        self._closed.set()

    def extend_deadline(self) -> None:
        """Restart the time limit for the side that is still open."""
        if not self._broken:
            self._client.arm(HALF_CLOSED_SECONDS, self.close)

    def end_direction(self) -> None:
        """Note that the end of one side has been relayed, and close after the second."""
        if self.half_closed:
            self.close()
        else:
            self.half_closed = True
            self.extend_deadline()

    def _on_ended(self) -> None:
        """Start a time limit if a side broke, because that side may not be read at the moment."""
        if not self._broken and (self._client.wire.is_broken or self._upstream.is_broken):
            self._broken = True
            self._client.arm(BROKEN_SECONDS, self.close)


class _Direction:
    """One direction of a tunnel, driven by the events of the two wires."""

    __slots__ = ("_sink", "_source", "_tunnel")

    def __init__(self, tunnel: Tunnel, source: Wire, sink: Wire) -> None:
        self._tunnel = tunnel
        self._source = source
        self._sink = sink

    def start(self, first: bytes) -> None:
        """Relay ``first``, and everything that arrives from now on."""
        self._source.on_readable = self._move
        self._move(first)

    def _move(self, first: bytes = b"") -> None:
        """Relay the bytes that have arrived, as long as there is room, and then the end."""
        source, sink = self._source, self._sink
        moved_bytes = 0
        try:
            data = first or source.recv_nowait()
            while data:
                moved_bytes += len(data)
                if not sink.send_or_keep(data):
                    self._wait_for_room(self._resume)
                    break
                if moved_bytes >= _TURN_BYTES:
                    source.rearm()
                    break
                data = source.recv_nowait()
        except OSError:
            self._tunnel.fail()
            return
        except Exception:  # a bug, which the reactor logs; nothing else would end the tunnel
            self._tunnel.fail()
            raise
        if data == b"":
            self._pass_end()
        elif self._tunnel.half_closed and moved_bytes:
            self._tunnel.extend_deadline()

    def _wait_for_room(self, then: Callable[[], None]) -> None:
        """Stop reading, and call ``then`` when the other side has room."""
        self._source.on_readable = None
        self._sink.on_writable = then

    def _resume(self) -> None:
        """Continue after the other side has accepted data, or has broken."""
        try:
            if not self._sink.send_or_keep(b""):
                return
        except OSError:
            self._tunnel.fail()
            return
        if self._tunnel.half_closed:
            self._tunnel.extend_deadline()
        self._sink.on_writable = None
        self._source.on_readable = self._move
        self._move()

    def _pass_end(self) -> None:
        """Relay the end, after all data that came before it."""
        self._sink.flush()
        if not self._sink.is_flushed:
            self._wait_for_room(self._pass_end)
            return
        self._source.on_readable = self._sink.on_writable = None
        with contextlib.suppress(OSError):  # the peer may have reset the connection
            self._sink.sock.shutdown(socket.SHUT_WR)
        self._tunnel.end_direction()
