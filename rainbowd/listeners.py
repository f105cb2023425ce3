"""Listening sockets: opened here, or inherited from systemd or from the agent that is being replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from rainbowd import tcp_ports
from rainbowd.address import Address, TcpAddress, UnixAddress, parse_address, sockaddr
from rainbowd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    Report = Callable[[str], None]

BACKLOG = 4096
PATIENCE_SECONDS = 5.0
"""How long a start waits for a port that no program listens on, but a connection uses."""
SOCKET_MODE = 0o666
UPGRADE_VARIABLE = "RAINBOWD_UPGRADE"
"""In the environment of the new agent of an upgrade: the descriptor through which it receives the listeners."""

_FAMILIES = {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}
_FIRST_FD = 3  # SD_LISTEN_FDS_START: sd_listen_fds(3)


class Listener:
    """A listening socket.

    Args:
        sock: listening already.
        configured: the address in the config that it was opened for; None if systemd passed it.
        path: the file of a Unix socket, which is removed when the listener is closed; None for any other socket.

    Attributes:
        address: the address that it listens on, written as in the config.
        is_shared: whether another agent listens on the same socket, whose file is then kept when this one is closed.
    """

    def __init__(self, sock: socket.socket, configured: str | None = None, path: Path | None = None) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.configured = configured
        self.address = _address_of(sock)
        self.is_shared = False
        self._path = path
        self._identity = _identity(path) if path is not None else None

    @property
    def port(self) -> int:
        """The TCP port of the socket; 0 for a Unix socket."""
        return 0 if self.sock.family == socket.AF_UNIX else int(self.sock.getsockname()[1])

    def close(self) -> None:
        """Close the socket, and remove the file of a Unix socket if it is still the one that was opened."""
        self.sock.close()
        if self._path is not None and not self.is_shared and _identity(self._path) == self._identity:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()


def open_listeners(address: Address, *, report: Report | None = None) -> list[Listener]:
    """Listen on ``address``, and on every IP address of a host name.

    Args:
        address: to listen on; with port 0, all IP addresses get the same port.
        report: see ``open_listener``.

    Raises:
        UsageError: as ``open_listener``; IP addresses that this machine does not have are skipped.
    """
    if isinstance(address, UnixAddress):
        return [open_listener(address)]
    resolved = _resolve(address, "listen")
    found: list[Listener] = []
    for number, (family, ip_address) in enumerate(resolved, start=1):
        port = ip_address.port or (found[0].port if found else 0)
        try:
            sock = _open_tcp(family, TcpAddress(ip_address.host, port), "listen", BACKLOG, report)
            found.append(Listener(sock, str(address)))
        except _Absent as absent:  # ::1 of localhost without IPv6
            if number == len(resolved) and not found:
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
    """Listen on ``address``: on one IP address of a host name, IPv4 first; a stale Unix socket is replaced.

    Args:
        address: to listen on.
        key: the config key of the address, for messages.
        socket_mode: the permissions of a Unix socket, which apply before anyone can connect.
        backlog: how many connections can wait to be accepted.
        report: called with one sentence when the start has to wait for a port that a connection uses.

    Raises:
        UsageError: the address is in use, may not be used, or does not exist.
    """
    if isinstance(address, UnixAddress):
        return _open_unix(address, key, socket_mode, backlog)
    resolved = sorted(_resolve(address, key), key=lambda pair: pair[0] != socket.AF_INET)
    for family, ip_address in resolved[:-1]:
        with contextlib.suppress(_Absent):
            return Listener(_open_tcp(family, ip_address, key, backlog, report), str(address))
    family, ip_address = resolved[-1]
    return Listener(_open_tcp(family, ip_address, key, backlog, report), str(address))


class _Absent(UsageError):
    """An IP address that this machine does not have."""


def _resolve(address: TcpAddress, key: str) -> list[tuple[socket.AddressFamily, TcpAddress]]:
    try:
        return tcp_ports.resolve(address.host, address.port)
    except OSError as error:
        raise UsageError(f"{key}: cannot listen on {address}: {error.strerror}") from None


def _open_tcp(
    family: socket.AddressFamily, address: TcpAddress, key: str, backlog: int, report: Report | None
) -> socket.socket:
    """Listen on one IP address and port."""
    try:
        sock = tcp_ports.bind(family, address, patience_seconds=PATIENCE_SECONDS, report=report)
        sock.listen(backlog)
    except OSError as error:
        error_class = _Absent if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} else UsageError
        hint = "; use --listen for another address" if key == "listen" and error.errno == errno.EADDRINUSE else ""
        raise error_class(f"{key}: cannot listen on {address}: {tcp_ports.explain(error, address)}{hint}") from None
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
    """Bind a socket; the file of a Unix socket is created with its final permissions.

    The kernel takes the permissions of the file from the socket (bind(2), fchmod(2)).  A chmod of the path could change
    another file that someone has put there meanwhile.

    Args:
        sock: not bound yet.
        name: the address in the form of bind(2).
        mode: the permissions of a Unix socket's file, whatever the umask is.

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


def ephemeral_port_warnings(addresses: Iterable[Address]) -> list[str]:
    """Return a warning for each of ``addresses`` whose port an outgoing connection may be using at a start."""
    return [
        f"listen: {address}: {tcp_ports.explain_ephemeral()}"
        for address in addresses
        if isinstance(address, TcpAddress) and tcp_ports.is_ephemeral(address.port)
    ]


def from_systemd(environ: Mapping[str, str], pid: int) -> list[Listener]:
    """Return the sockets that systemd passed to this process, if any: sd_listen_fds(3).

    Args:
        environ: the environment of this process; the names in LISTEN_FDNAMES are ignored.
        pid: of this process.

    Raises:
        UsageError: one of them is not a listening stream socket.
    """
    if environ.get("LISTEN_PID") != str(pid) or not environ.get("LISTEN_FDS", "").isdecimal():
        return []
    return [_from_descriptor(fd) for fd in range(_FIRST_FD, _FIRST_FD + int(environ["LISTEN_FDS"]))]


def from_predecessor(sock: socket.socket, configured: str | None) -> Listener:
    """Return the listener for a socket of the old agent, which is shared until the upgrade is complete.

    Args:
        sock: the listening socket.
        configured: see ``Listener``.
    """
    address = None if configured is None else parse_address(configured)
    listener = Listener(sock, configured, address.path if isinstance(address, UnixAddress) else None)
    listener.is_shared = True
    return listener


def close_all(listeners: Iterable[Listener]) -> None:
    """Close each of ``listeners``, as ``Listener.close`` does."""
    for listener in listeners:
        listener.close()


def _address_of(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family != socket.AF_UNIX:
        return str(TcpAddress(name[0], name[1]))
    return f"unix:@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else f"unix:{name}"


def _from_descriptor(fd: int) -> Listener:
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
    """Remove a socket that nobody listens on; any other file is kept, and the bind fails."""
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
