"""Addresses of listening sockets: a TCP host and port, or the path of a Unix socket."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

PORT_MAX = 65535
SOCKET_PATH_BYTES = 107  # sun_path without its terminating NUL: unix(7)


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP address, written ``HOST:PORT`` or ``[V6]:PORT``.

    Attributes:
        host: an IP address literal or a name, without brackets.
        port: 0 lets the kernel choose one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The address of a Unix socket, written ``unix:PATH``."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress

EXPECTED_ADDRESS = "HOST:PORT, [V6]:PORT or unix:PATH"


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``[V6]:PORT`` or ``unix:PATH``.

    Raises:
        ValueError: ``text`` is not an address; the message states what was expected.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise ValueError("expected a path after unix:")
        return UnixAddress(Path(path))
    host, colon, port = text.rpartition(":")
    problem = _problem(text, host, colon, port)
    if problem:
        raise ValueError(f"expected {problem}")
    return TcpAddress(host.removeprefix("[").removesuffix("]"), int(port))


def _problem(text: str, host: str, colon: str, port: str) -> str:
    """Return what was expected instead of ``text``; empty if it is ``HOST:PORT`` or ``[V6]:PORT``."""
    is_bracketed = host.startswith("[") and host.endswith("]")
    is_number = port.isascii() and port.isdigit()
    if is_bracketed and not _is_ipv6(host[1:-1]):
        return f"an IPv6 address between the brackets, found {host[1:-1]!r}"
    if not colon or not host or not is_number or (":" in host and not is_bracketed):
        return _suggestion(text, host, port)
    return "" if _is_port(port) else f"a port of at most {PORT_MAX}"


def _suggestion(text: str, host: str, port: str) -> str:
    """Return the address that ``text``, which is not an address, was probably meant to be."""
    scheme, is_url, rest = text.partition("://")
    if is_url:
        return f'an address without {scheme}://, such as "{rest.rstrip("/") or "127.0.0.1:7000"}"'
    if _is_ipv6(host):
        return f'an IPv6 address in brackets, such as "[{host}]:{port}"'
    if _is_ipv6(text):
        return f'an IPv6 address in brackets and a port, such as "[{text}]:7000"'
    if not host and port.isascii() and port.isdigit() and _is_port(port):
        return f'{EXPECTED_ADDRESS}, such as "127.0.0.1:{port}", or "0.0.0.0:{port}" for every interface'
    return f'{EXPECTED_ADDRESS}, such as "127.0.0.1:7000"'


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _is_port(digits: str) -> bool:
    significant = digits.lstrip("0") or "0"
    return len(significant) <= len(str(PORT_MAX)) and int(significant) <= PORT_MAX


def family(address: Address) -> socket.AddressFamily:
    """Return the socket family with which to connect to ``address``."""
    if isinstance(address, UnixAddress):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def sockaddr(address: Address) -> str | tuple[str, int]:
    """Return ``address`` in the form that ``socket.bind`` and ``socket.connect`` accept."""
    return str(address.path) if isinstance(address, UnixAddress) else (address.host, address.port)


def connect_to_socket_file(sock: socket.socket, path: Path) -> int:
    """Start to connect ``sock`` to the Unix socket ``path``, without following a symlink.

    The app can replace its socket by a symlink to a socket to which rainbowd may connect and the app may not.

    Args:
        sock: a non-blocking Unix socket.
        path: of the socket file.

    Returns:
        The error number, as ``connect_ex`` does: ECONNREFUSED if ``path`` is a link (open(2), O_PATH and O_NOFOLLOW).

    Raises:
        OSError: ``path`` cannot be opened; FileNotFoundError if it does not exist.
    """
    file = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return sock.connect_ex(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
