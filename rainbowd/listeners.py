"""Listening sockets: opened, or handed over by systemd."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from rainbowd import tcp
from rainbowd.address import Address, TcpAddress, UnixAddress, parse_address, sockaddr
from rainbowd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    Report = Callable[[str], None]

BACKLOG = 4096
PATIENCE_SECONDS = 5.0
"""How long a start waits for a port that no program listens on, but a connection has."""
SOCKET_MODE = 0o666

_FAMILIES = {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}
_FIRST_FD = 3  # SD_LISTEN_FDS_START: sd_listen_fds(3)


class Listener:
    """A listening socket.

    Args:
        asked: the address by which the config asks for it; None for one that systemd handed over.
        path: of the Unix socket that goes with it at the end; None for any other.

    Attributes:
        address: where it listens, as the config would have it.
        is_shared: another agent listens by it too, so that to close it is not its end.
    """

    def __init__(self, sock: socket.socket, asked: str | None = None, path: Path | None = None) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.asked = asked
        self.address = _address_of(sock)
        self.is_shared = False
        self._path = path
        self._identity = _identity(path) if path is not None else None

    @property
    def port(self) -> int:
        """The TCP port that it has; 0 for a Unix socket."""
        return 0 if self.sock.family == socket.AF_UNIX else int(self.sock.getsockname()[1])

    def close(self) -> None:
        """Close, and remove the Unix socket if it is still ours."""
        self.sock.close()
        if self._path is not None and not self.is_shared and _identity(self._path) == self._identity:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()


def open_listeners(address: Address, *, report: Report | None = None) -> list[Listener]:
    """Listen on ``address``; if it has the name of a host, on every IP address of that.

    Args:
        address: where; with port 0 all IP addresses get the same port.
        report: see ``open_listener``.

    Raises:
        UsageError: as ``open_listener``; an IP address of a name that this machine does not have is left out.
    """
    if isinstance(address, UnixAddress):
        return [open_listener(address)]
    places = _resolved(address, "listen")
    found: list[Listener] = []
    for number, (family, place) in enumerate(places, start=1):
        port = place.port or (found[0].port if found else 0)
        try:
            sock = _open_tcp(family, TcpAddress(place.host, port), "listen", BACKLOG, report)
            found.append(Listener(sock, str(address)))
        except _Absent as absent:  # ::1 of localhost without IPv6
            if number == len(places) and not found:
                raise UsageError(str(absent)) from None
        except UsageError:
            close_all(found)
            raise
    return found


def open_listener(
    address: Address,
    *,
    key: str = "listen",
    socket_mode: int = SOCKET_MODE,
    backlog: int = BACKLOG,
    report: Report | None = None,
) -> Listener:
    """Listen on ``address``, of a host's name on one IP address, IPv4 first; a stale Unix socket is removed.

    Args:
        address: where.
        key: of the config, for messages.
        socket_mode: of a Unix socket, from before it can be connected to.
        backlog: how many connections may wait to be accepted.
        report: is told in words that the start waits for a port that only a connection has.

    Raises:
        UsageError: it is in use, not ours to use, or does not exist.
    """
    if isinstance(address, UnixAddress):
        return _open_unix(address, key, socket_mode, backlog)
    places = sorted(_resolved(address, key), key=lambda place: place[0] != socket.AF_INET)
    for family, place in places[:-1]:
        with contextlib.suppress(_Absent):
            return Listener(_open_tcp(family, place, key, backlog, report), str(address))
    family, place = places[-1]
    return Listener(_open_tcp(family, place, key, backlog, report), str(address))


class _Absent(UsageError):  # noqa: N818 - a fact, not a fault
    """This machine does not have the IP address."""


def _resolved(address: TcpAddress, key: str) -> list[tuple[socket.AddressFamily, TcpAddress]]:
    try:
        return tcp.resolve(address.host, address.port)
    except OSError as error:
        raise UsageError(f"{key}: cannot listen on {address}: {error.strerror}") from None


def _open_tcp(
    family: socket.AddressFamily, place: TcpAddress, key: str, backlog: int, report: Report | None
) -> socket.socket:
    """Listen on one IP address."""
    try:
        sock = tcp.bind(family, place, patience_seconds=PATIENCE_SECONDS, report=report)
        sock.listen(backlog)
    except OSError as error:
        kind = _Absent if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} else UsageError
        hint = "; --listen takes another address" if key == "listen" and error.errno == errno.EADDRINUSE else ""
        raise kind(f"{key}: cannot listen on {place}: {tcp.explain(error, place)}{hint}") from None
    return sock


def _open_unix(address: UnixAddress, key: str, socket_mode: int, backlog: int) -> Listener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _remove_stale(address.path)
        bind(sock, sockaddr(address), mode=socket_mode)
        sock.listen(backlog)
        return Listener(sock, str(address), address.path)
    except OSError as error:
        sock.close()
        raise UsageError(f"{key}: cannot listen on {address}: {_explain(error)}") from None


def bind(sock: socket.socket, name: str | tuple[str, int], *, mode: int) -> None:
    """Bind a socket; the file of a Unix socket has its mode from its first instant.

    The kernel takes the mode of the file from the socket (bind(2), fchmod(2)), so no path is ever changed: somebody
    may have put another file there by then.

    Args:
        sock: not bound yet.
        name: as bind(2) takes it.
        mode: of a Unix socket's file, whatever the umask is.

    Raises:
        OSError: as bind(2).
    """
    if sock.family != socket.AF_UNIX:
        sock.bind(name)
        return
    os.fchmod(sock.fileno(), mode)
    umask = os.umask(0)
    try:
        sock.bind(name)
    finally:
        os.umask(umask)


def doubts(addresses: Iterable[Address]) -> list[str]:
    """Return a warning for each address whose port an outgoing connection may have when the agent starts."""
    return [
        f"listen: {address}: {tcp.in_ephemeral_range()}"
        for address in addresses
        if isinstance(address, TcpAddress) and tcp.is_ephemeral(address.port)
    ]


def from_systemd(environ: Mapping[str, str], pid: int) -> list[Listener]:
    """The sockets that systemd handed over, none where it did not: sd_listen_fds(3).  Their names do not matter.

    Raises:
        UsageError: what was handed over is not a listening stream socket.
    """
    if environ.get("LISTEN_PID") != str(pid) or not environ.get("LISTEN_FDS", "").isdecimal():
        return []
    return [_inherit(fd) for fd in range(_FIRST_FD, _FIRST_FD + int(environ["LISTEN_FDS"]))]


def from_predecessor(sock: socket.socket, asked: str | None) -> Listener:
    """The listener of an agent that hands over, shared until that is done.

    Args:
        sock: listening.
        asked: see ``Listener``.
    """
    address = None if asked is None else parse_address(asked)
    listener = Listener(sock, asked, address.path if isinstance(address, UnixAddress) else None)
    listener.is_shared = True
    return listener


def close_all(listeners: Iterable[Listener]) -> None:
    """Close each."""
    for listener in listeners:
        listener.close()


def _address_of(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family != socket.AF_UNIX:
        return str(TcpAddress(name[0], name[1]))
    return f"unix:@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else f"unix:{name}"


def _inherit(fd: int) -> Listener:
    with contextlib.suppress(OSError):
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        is_stream = sock.family in _FAMILIES and sock.type == socket.SOCK_STREAM
        if is_stream and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return Listener(sock)
        sock.detach()
    raise UsageError(
        f"LISTEN_FDS: descriptor {fd} is not a listening stream socket (a socket unit needs ListenStream, Accept=no)"
    )


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on; any other file stays, and the bind says so."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _explain(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there already"
    return error.strerror or str(error)
