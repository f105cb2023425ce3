"""Accepting clients, up to the limit on connections."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger
from rainbowd.proxy.connection import Connection
from rainbowd.proxy.hold import unavailable
from rainbowd.proxy.throttle import Throttle
from rainbowd.proxy.wire import Wire

if TYPE_CHECKING:
    from rainbowd.listeners import Listener
    from rainbowd.proxy.context import Context

_REJECTED_MAX = 256  # beyond the limit on connections: the next ones are reset
_PAUSE_SECONDS = 0.1  # without descriptors, before accept is tried again
_WARNING_SECONDS = 10.0
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_INT_MAX = 2**31 - 1
"""The most milliseconds that a socket option can hold: about 25 days."""

log = get_logger()


class Acceptor:
    """The part of the proxy that accepts connections, and rejects those beyond the limit.

    Args:
        context: has the limit, and the set of connections.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._warnings = Throttle(_WARNING_SECONDS)

    async def accept(self, listener: Listener) -> None:
        """Accept connections on ``listener`` until cancelled.

        Neither a connection that fails nor a lack of file descriptors ends the loop.
        """
        while True:
            await trio.lowlevel.wait_readable(listener.sock)
            try:
                for _ in range(self._context.accepts_per_turn):
                    self._open(*listener.sock.accept())
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._warn_out_of_resources(error)
                    await trio.sleep(_PAUSE_SECONDS)
                # any other error concerns only the connection that was being accepted: accept(2)

    def accept_queued(self, listener: Listener) -> None:
        """Accept all connections in the queue of ``listener``, because closing it would reset them."""
        while True:
            try:
                self._open(*listener.sock.accept())
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    return

    def _open(self, sock: socket.socket, address: tuple[str, int] | str) -> None:
        context = self._context
        sock.setblocking(False)
        try:
            _set_options(sock, context.settings.limits.idle_timeout)
            wire = Wire(context.reactor, sock)
        except OSError:  # already reset, or no memory to register it
            sock.close()
            return
        peer = _client_ip(address) if isinstance(address, tuple) else None
        is_trusted = peer is None or any(peer in network for network in context.settings.trust)
        self._admit(Connection(context, wire, str(peer).encode() if peer else None, is_trusted=is_trusted))

    def _admit(self, connection: Connection) -> None:
        """Serve the connection, or reject it: with a response, or with a reset if too many are being rejected."""
        clients = self._context.clients
        if clients.has_room(self._context.settings.limits.connections):
            clients.add(connection)
            connection.park()
        elif len(clients.rejected) < _REJECTED_MAX:
            clients.rejected.add(connection)
            self._context.fibers.start(connection.serve(unavailable("Too many connections.")))
        else:
            connection.wire.reset()

    def _warn_out_of_resources(self, error: OSError) -> None:
        """Log a warning, but not for each failed accept."""
        if self._warnings.try_pass():
            log.warning("cannot accept connections", error=error.strerror, hint="raise LimitNOFILE or ulimit -n")


def _set_options(sock: socket.socket, stalled_seconds: float | None) -> None:
    """Set the options of a client's socket: no delay for small writes, and detection of dead clients.

    Args:
        sock: a socket that was just accepted.
        stalled_seconds: how long sent data may stay unacknowledged: TCP_USER_TIMEOUT in tcp(7), which also covers a
            closed window since Linux 5.11. None for no limit.
    """
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if stalled_seconds is not None:
            milliseconds = int(min(stalled_seconds * 1000, _INT_MAX))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _client_ip(address: tuple[str, int]) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the client's address without a zone, and an IPv4 address as such even on an IPv6 socket."""
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip
