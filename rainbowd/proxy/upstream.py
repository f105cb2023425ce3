"""Connections to generations, and the idle ones kept for the next request."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from rainbowd.address import TcpAddress, connect_to_socket_file, family, sockaddr
from rainbowd.proxy.wire import Wire
from rainbowd.roster import State

if TYPE_CHECKING:
    from rainbowd.proxy.hub import Hub
    from rainbowd.roster import Generation

IDLE_SECONDS = 1.0
"""How long an idle connection is kept: below every app server's own limit."""

REFUSED = (ConnectionRefusedError, FileNotFoundError, ConnectionResetError, BrokenPipeError)
"""What a connect raises where nothing listens, on TCP and on a Unix socket; and where whoever did died that moment."""


class Upstream:
    """A connection to a generation.

    Attributes:
        reused: it has carried a request before.
        buffer: received and not consumed.
    """

    __slots__ = ("buffer", "generation", "idle_since", "reused", "wire")

    def __init__(self, generation: Generation, wire: Wire) -> None:
        self.generation = generation
        self.wire = wire
        self.reused = False
        self.buffer = b""
        self.idle_since = 0.0

    def take_buffer(self) -> bytes:
        """What was received and not consumed; the caller consumes it."""
        buffer, self.buffer = self.buffer, b""
        return buffer


class Pool:
    """The idle connections of each generation, the last used first.

    Args:
        hub: for the sockets.
        follow_links: whether a Unix socket's path may be a link. Not to a generation's: its app, which may be another
            user's, could have us speak to any socket that we may open.

    Attributes:
        opened: connections begun.
    """

    def __init__(self, hub: Hub, *, follow_links: bool) -> None:
        self.opened = 0
        self._hub = hub
        self._follow_links = follow_links
        self._idle: dict[Generation, list[Upstream]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))

    def take(self, generation: Generation) -> Upstream | None:
        """An idle connection that shows no sign of being dead: nothing to read, as nothing was asked."""
        idle = self._idle.get(generation)
        while idle:
            upstream = idle.pop()
            if upstream.wire.is_quiet:
                upstream.reused = True
                return upstream
            upstream.wire.close()
        return None

    def open(self, generation: Generation) -> Upstream | None:
        """Begin to connect; ``upstream.wire.wait_connected()`` waits for the end of it.

        Returns:
            None where the queue of a Unix socket is full: connect(2), EAGAIN.

        Raises:
            OSError: it failed at once.
        """
        self.opened += 1
        address = generation.address
        sock = socket.socket(family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if isinstance(address, TcpAddress):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if isinstance(address, TcpAddress) or self._follow_links:
                error = sock.connect_ex(sockaddr(address))
            else:
                error = connect_to_socket_file(sock, address.path)
            wire = Wire(self._hub, sock) if error in {0, errno.EINPROGRESS} else None
        except OSError:
            sock.close()
            raise
        if wire is not None:
            return Upstream(generation, wire)
        sock.close()
        if error != errno.EAGAIN:
            raise OSError(error, os.strerror(error))
        return None

    def give_back(self, upstream: Upstream) -> None:
        """Keep a connection whose response ended; one to a generation that gets no new requests is closed."""
        if upstream.generation.state is not State.LIVE:
            upstream.wire.close()
            return
        upstream.wire.clear_interruption()
        upstream.idle_since = time.monotonic()
        self._idle.setdefault(upstream.generation, []).append(upstream)

    def close_superseded(self) -> None:
        """Close what is idle to generations that get no new requests: their app is told to stop soon."""
        for generation in [generation for generation in self._idle if generation.state is not State.LIVE]:
            for upstream in self._idle.pop(generation):
                upstream.wire.close()

    def close(self) -> None:
        """Close all that is idle: no more requests come."""
        for idle in self._idle.values():
            while idle:
                idle.pop().wire.close()

    def close_expired(self, now_seconds: float) -> None:
        """Close what has been idle for too long; the longest idle are at the front."""
        for idle in self._idle.values():
            while idle and now_seconds - idle[0].idle_since > IDLE_SECONDS:
                idle.pop(0).wire.close()
