"""Where something listens: a TCP host and port, or the path of a Unix socket."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

PORT_MAX = 65535
SOCKET_PATH_BYTES = 107  # sun_path without its terminating NUL: unix(7)


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """``HOST:PORT`` or ``[V6]:PORT``; ``host`` is an IP address literal or a name, without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """``unix:PATH``."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``[V6]:PORT`` or ``unix:PATH``.

    Raises:
        ValueError: the text is none of these; the message says what was expected.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise ValueError("expected a path after unix:")
        return UnixAddress(Path(path))
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"expected an IPv6 address between the brackets, found {host!r}") from None
    elif ":" in host:
        raise ValueError(f"expected an IPv6 address in brackets, such as [{host}]:{port}")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
        raise ValueError("expected HOST:PORT, [V6]:PORT or unix:PATH")
    return TcpAddress(host, int(port))


def family(address: Address) -> socket.AddressFamily:
    """The socket family to reach ``address`` with."""
    if isinstance(address, UnixAddress):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def sockaddr(address: Address) -> str | tuple[str, int]:
    """What ``socket.bind`` and ``socket.connect`` take for ``address``."""
    return str(address.path) if isinstance(address, UnixAddress) else (address.host, address.port)
