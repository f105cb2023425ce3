"""What a connection becomes after ``101 Switching Protocols``: bytes both ways, until both ends are done.

A frame is so short that a step of a coroutine costs as much as to pass it on.  So the events of the two sockets do that
themselves, and whoever opened the tunnel waits for its end alone.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from rainbowd.proxy.fiber import Latch

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.proxy.connection import Connection
    from rainbowd.proxy.wire import Wire

HALF_CLOSED_SECONDS = 10.0
"""Behind one side's end: how long the other may be silent. It was told, and may send the rest."""

BROKEN_SECONDS = 0.5
"""Behind a reset of one side: how long what it sent before may take to be passed on."""

_TURN_BYTES = 256 << 10
"""How much one direction may move before others get a turn."""


class Tunnel:
    """Bytes both ways; one side's end is passed on, and the other side may go on until its own.

    A side that breaks takes the other one along.  Both are closed in the end.

    Attributes:
        half_closed: one side's end was passed on.
    """

    __slots__ = ("_broken", "_closed", "_connection", "_upstream", "half_closed")

    def __init__(self, connection: Connection, upstream: Wire) -> None:
        self.half_closed = False
        self._broken = False
        self._connection = connection
        self._upstream = upstream
        self._closed = Latch(connection.server.hub)

    async def run(self, to_client: bytes, to_upstream: bytes) -> None:
        """Move bytes until the end; these first."""
        client, upstream = self._connection.wire, self._upstream
        try:
            for source, sink, first in ((upstream, client, to_client), (client, upstream, to_upstream)):
                source.on_ended = self._on_ended
                _Direction(self, source, sink).start(first)
            self._on_ended()  # one may have broken before anybody was to be told
            await self._closed.wait()
        finally:
            self._connection.disarm()
            for wire in (client, upstream):
                wire.flush()
                if self._broken:
                    wire.reset()
                wire.close()

    def close(self) -> None:
        """Be over: its time is, or its generation drains, or the agent stops."""
        self._closed.set()

    def fail(self) -> None:
        """Be over, as one side is broken."""
        self._broken = True
        self._closed.set()

    def extend_deadline(self) -> None:
        """One side's end was passed on, or bytes came behind it from the other."""
        if not self._broken:
            self._connection.arm(HALF_CLOSED_SECONDS, self.close)

    def end_direction(self) -> None:
        """One side's end was passed on."""
        if self.half_closed:
            self.close()
        else:
            self.half_closed = True
            self.extend_deadline()

    def _on_ended(self) -> None:
        """A side that broke may be one that nobody reads just now: the tunnel ends soon in any case."""
        if not self._broken and (self._connection.wire.is_broken or self._upstream.is_broken):
            self._broken = True
            self._connection.arm(BROKEN_SECONDS, self.close)


class _Direction:
    """One way through a tunnel; the wires hold it, whose events drive it, and nobody else."""

    __slots__ = ("_sink", "_source", "_tunnel")

    def __init__(self, tunnel: Tunnel, source: Wire, sink: Wire) -> None:
        self._tunnel = tunnel
        self._source = source
        self._sink = sink

    def start(self, first: bytes) -> None:
        """Pass on ``first``, and from now on what comes."""
        self._source.on_readable = self._move
        self._move(first)

    def _move(self, first: bytes = b"") -> None:
        """Pass on what there is, as far as there is room, and the end too."""
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
        except Exception:  # a bug, which the hub logs: nobody else would end the tunnel
            self._tunnel.fail()
            raise
        if data == b"":
            self._pass_end()
        elif self._tunnel.half_closed and moved_bytes:
            self._tunnel.extend_deadline()

    def _wait_for_room(self, then: Callable[[], None]) -> None:
        """Read no more until the other side takes what it was sent."""
        self._source.on_readable = None
        self._sink.on_writable = then

    def _resume(self) -> None:
        """The other side took something, or broke."""
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
        """Pass the end on, behind all that came before it."""
        self._sink.flush()
        if not self._sink.is_flushed:
            self._wait_for_room(self._pass_end)
            return
        self._source.on_readable = self._sink.on_writable = None
        with contextlib.suppress(OSError):  # the peer may have reset the connection: nobody is left to tell
            self._sink.sock.shutdown(socket.SHUT_WR)
        self._tunnel.end_direction()
