"""New clients: accepted, and let in or turned away."""

from __future__ import annotations

import errno
import ipaddress
import math
import socket
import time
from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger
from rainbowd.proxy.connection import Connection
from rainbowd.proxy.hold import nothing_live
from rainbowd.proxy.wire import Wire

if TYPE_CHECKING:
    from rainbowd.listeners import Listener
    from rainbowd.proxy.server import Server

_ACCEPTS_PER_TURN = 64
_REJECTED_MAX = 256  # at the limit on connections: more at a time are reset
_PAUSE_SECONDS = 0.1  # without descriptors, before accept is tried again
_WARNING_SECONDS = 10.0
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_INT_MAX = 2**31 - 1
"""Milliseconds that a socket option holds: some 25 days."""

log = get_logger()


class Acceptor:
    """Where the connections of ``server`` come from."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._warned_at = -math.inf

    async def accept(self, listener: Listener) -> None:
        """Let in who comes to ``listener``, until cancelled; a client that fails, or too many, stop nobody else."""
        while True:
            await trio.lowlevel.wait_readable(listener.sock)
            try:
                for _ in range(_ACCEPTS_PER_TURN):
                    self._open(*listener.sock.accept())
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._warn_out_of_resources(error)
                    await trio.sleep(_PAUSE_SECONDS)
                # anything else is the end of the one connection that was to be accepted: accept(2)

    def accept_queued(self, listener: Listener) -> None:
        """Let in all who wait in the queue of ``listener``, as to close it would reset them."""
        while True:
            try:
                self._open(*listener.sock.accept())
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    return

    def _open(self, sock: socket.socket, address: tuple[str, int] | str) -> None:
        server = self._server
        sock.setblocking(False)
        try:
            _set_options(sock, server.settings.limits.idle_timeout)
            wire = Wire(server.hub, sock)
        except OSError:  # reset already, or no memory to watch it
            sock.close()
            return
        peer = _client_ip(address) if isinstance(address, tuple) else None
        trusted = peer is None or any(peer in network for network in server.settings.trust)
        self._admit(Connection(server, wire, str(peer).encode() if peer else None, trusted=trusted))

    def _admit(self, connection: Connection) -> None:
        """Have it served, or turned away with an answer, or reset where even those would be too many."""
        server, limit = self._server, self._server.settings.limits.connections
        if limit is None or len(server.connections) < limit:
            server.connections.add(connection)
            connection.park()
        elif len(server.rejected) < _REJECTED_MAX:
            server.rejected.add(connection)
            server.fibers.start(connection.serve(nothing_live("Too many connections.")))
        else:
            connection.wire.reset()

    def _warn_out_of_resources(self, error: OSError) -> None:
        """Say it now and then, not at each try."""
        if time.monotonic() - self._warned_at > _WARNING_SECONDS:
            self._warned_at = time.monotonic()
            log.warning("cannot accept connections", error=error.strerror, hint="raise LimitNOFILE or ulimit -n")


def _set_options(sock: socket.socket, stalled_seconds: float | None) -> None:
    """Set what a client's socket needs: no delay for small writes, and to notice one that vanished or reads no more.

    Args:
        sock: just accepted.
        stalled_seconds: how long what is sent may go unread: TCP_USER_TIMEOUT in tcp(7), which since Linux 5.11 covers
            a closed window too.
    """
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if stalled_seconds is not None:
            milliseconds = int(min(stalled_seconds * 1000, _INT_MAX))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _client_ip(address: tuple[str, int]) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Without a zone; an IPv4 address as such also where the socket is for IPv6."""
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip
