"""Connections to the app, and the pool of idle ones for the next requests."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from rainbowd.address import TcpAddress, connect_to_socket_file, family, sockaddr
from rainbowd.proxy.wire import Wire

if TYPE_CHECKING:
    from rainbowd.proxy.reactor import Reactor
    from rainbowd.roster import Generation

IDLE_SECONDS = 1.0
"""How long an idle connection is kept: less than the keep-alive timeout of every app server."""

REFUSED = (ConnectionRefusedError, FileNotFoundError, ConnectionResetError, BrokenPipeError)
"""Errors of a connect if nothing listens on the TCP or Unix socket, or if the listening process exits meanwhile."""


class Upstream:
    """A connection to a generation.

    Attributes:
        generation: the generation that it is connected to.
        wire: its socket.
        reused: whether it has carried a request before.
        buffer: bytes received and not consumed.
        idle_since: on the monotonic clock, in seconds.
    """

    __slots__ = ("buffer", "generation", "idle_since", "reused", "wire")

    def __init__(self, generation: Generation, wire: Wire) -> None:
        self.generation = generation
        self.wire = wire
        self.reused = False
        self.buffer = b""
        self.idle_since = 0.0

    def take_buffer(self) -> bytes:
        """Return the bytes received and not consumed, and clear the buffer."""
        buffer, self.buffer = self.buffer, b""
        return buffer

    async def wait_connected(self) -> None:
        """Wait until a non-blocking connect has succeeded: connect(2), EINPROGRESS.

        Raises:
            OSError: the connect failed.
        """
        sock = self.wire.sock
        while True:
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            with contextlib.suppress(OSError):
                sock.getpeername()
                return
            await self.wire.wait_writable()


class Pool:
    """The idle connections of each generation, the most recently used first.

    Args:
        reactor: registers the sockets.
        follow_links: whether the path of a Unix socket may be a symlink. Must be False for generations: an app that
            runs as another user could direct the agent to any socket that the agent can open.

    Attributes:
        opened: the number of connects so far.
    """

    def __init__(self, reactor: Reactor, *, follow_links: bool) -> None:
        self.opened = 0
        self._reactor = reactor
        self._follow_links = follow_links
        self._idle: dict[Generation, list[Upstream]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))

    def take(self, generation: Generation) -> Upstream | None:
        """Return an idle connection to ``generation`` on which nothing seems to have arrived; None if there is none."""
        idle = self._idle.get(generation)
        while idle:
            upstream = idle.pop()
            if upstream.wire.is_quiet:
                upstream.reused = True
                return upstream
            upstream.wire.close()
        return None

    def open(self, generation: Generation) -> Upstream | None:
        """Start to connect to ``generation``; ``Upstream.wait_connected`` waits for the result.

        Returns:
            The connection; None if the queue of a Unix socket is full: connect(2), EAGAIN.

        Raises:
            OSError: the connect failed at once.
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
            wire = Wire(self._reactor, sock) if error in {0, errno.EINPROGRESS} else None
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
        """Keep ``upstream``, whose response has ended; close it if its generation gets no new requests."""
        if not upstream.generation.is_serving:
            upstream.wire.close()
            return
        upstream.wire.clear_interruption()
        upstream.idle_since = time.monotonic()
        self._idle.setdefault(upstream.generation, []).append(upstream)

    def close_superseded(self) -> None:
        """Close the idle connections to generations that get no new requests, whose apps will be stopped soon."""
        for generation in [generation for generation in self._idle if not generation.is_serving]:
            for upstream in self._idle.pop(generation):
                upstream.wire.close()

    def close(self) -> None:
        """Close all idle connections, when no more requests will follow."""
        for idle in self._idle.values():
            while idle:
                idle.pop().wire.close()

    def close_expired(self, now_seconds: float) -> None:
        """Close the connections that are idle for too long at ``now_seconds``, by the monotonic clock."""
        for idle in self._idle.values():
            while idle and now_seconds - idle[0].idle_since > IDLE_SECONDS:
                idle.pop(0).wire.close()
