"""Connecting to an app as the proxy does: directly, and to a Unix socket without following a link."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from rainbowd.address import UnixAddress, connect_to_socket_file, family, sockaddr
from rainbowd.config.account import ROOT
from rainbowd.deploy.process.as_user import as_owner_of

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.address import Address, TcpAddress

_QUEUE_IS_FULL_SECONDS = 0.01
_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
_TLS_SECONDS = 1.0
_TLS_BYTES = 64
_TLS_RECORDS = b"\x15", b"\x16"
"""An alert, which a refused handshake gets, and a handshake: RFC 8446 section 5.1."""


async def connect(address: Address) -> trio.SocketStream:
    """Connect to an app.

    Raises:
        OSError: it does not accept connections, or another account's process listens on its Unix socket.
    """
    sock = socket.socket(family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    try:
        if isinstance(address, UnixAddress):
            await _connect_to_file(sock, address.path)
        else:
            await _connect_to_port(stream.socket, address)
    except BaseException:
        stream.socket.close()
        raise
    return stream


async def _connect_to_file(sock: socket.socket, path: Path) -> None:
    """Connect to a generation's Unix socket, as the owner of its directory: the account that the app runs as."""
    while (error := _begin(sock, path)) == errno.EAGAIN:  # noqa: ASYNC110 - its queue is full: connect(2)
        await trio.sleep(_QUEUE_IS_FULL_SECONDS)
    if error:
        raise OSError(error, os.strerror(error))
    _check_listener_account(sock, path.parent)


def _begin(sock: socket.socket, path: Path) -> int:
    with as_owner_of(path.parent):
        error = connect_to_socket_file(sock, path)
    if error and path.is_symlink():
        raise ConnectionRefusedError(error, "the socket is a symbolic link, which rainbowd does not follow")
    return error


def _check_listener_account(sock: socket.socket, directory: Path) -> None:
    """Check that the listening process belongs to the account of the app, if that is not the agent's."""
    owner = directory.stat().st_uid
    if os.geteuid() == ROOT != owner:
        _, listener, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if listener != owner:
            raise PermissionError(errno.EACCES, f"a process of another account (uid {listener}) listens there")


async def _connect_to_port(sock: trio.socket.SocketType, address: TcpAddress) -> None:
    """Connect, and treat a connection to itself as refused, because then no program listens there.

    A connect to a closed port of the ephemeral range can connect to itself: RFC 9293 section 3.5, simultaneous open.
    """
    try:
        await sock.connect(sockaddr(address))
    except OSError as error:  # whose own message is longer
        raise OSError(error.errno, os.strerror(error.errno or 0)) from None
    if sock.getsockname() == sock.getpeername():
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


async def speaks_tls(address: Address) -> bool:
    """Return whether the app answers the first message of TLS with one of TLS, within a second."""
    first = b""
    with suppress(OSError, trio.BrokenResourceError), trio.move_on_after(_TLS_SECONDS):
        stream = await connect(address)
        try:
            await stream.send_all(_client_hello())
            first = bytes(await stream.receive_some(_TLS_BYTES))
        finally:
            stream.socket.close()
    return is_tls(first)


def is_tls(data: bytes) -> bool:
    """Return whether ``data`` begins with a record that a TLS server sends first."""
    return data[:1] in _TLS_RECORDS and data[1:2] == b"\x03"


def _client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sent = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), sent).do_handshake()
    except ssl.SSLWantReadError:  # for the answer
        return sent.read()
    raise AssertionError("a handshake needs an answer")
