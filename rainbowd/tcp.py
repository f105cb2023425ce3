"""TCP ports of this machine: how one is bound, who has it, and which ones outgoing connections get."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.address import TcpAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SYSCTL = Path("/proc/sys/net/ipv4")
_TABLES = Path("/proc/net/tcp"), Path("/proc/net/tcp6")
_LISTEN = "0A"

_RETRY_SECONDS = 0.1
_CONNECTION_HAS_IT = "no program listens there, but a connection has this port as its own"


def ephemeral_ports() -> range:
    """Return ``net.ipv4.ip_local_port_range``: the ports that the kernel gives to outgoing connections (ip(7))."""
    try:
        first, last = map(int, (_SYSCTL / "ip_local_port_range").read_text().split())
    except OSError:
        return range(0)
    return range(first, last + 1)


def is_ephemeral(port: int) -> bool:
    """Whether an outgoing connection of any program may get ``port``: it is in the range, and not reserved."""
    return port in ephemeral_ports() and not any(port in ports for ports in _reserved())


def _reserved() -> Iterator[range]:
    """Yield what ``net.ipv4.ip_local_reserved_ports`` has, such as ``8080,9100-9200``."""
    try:
        text = (_SYSCTL / "ip_local_reserved_ports").read_text().strip()
    except OSError:
        return
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield range(int(first), int(last or first) + 1)


def is_listened_on(address: TcpAddress) -> bool | None:
    """Whether a program listens where ``address`` would: on its port, at its IP address or at all; None if unknown."""
    own = ipaddress.ip_address(address.host)
    try:
        hosts = [host for table in _TABLES for host in _listening_hosts(table, address.port)]
    except OSError:
        return None
    return any(host == own or host.is_unspecified or own.is_unspecified for host in hosts)


def _listening_hosts(table: Path, port: int) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    if not table.exists():  # a kernel without IPv6
        return
    with table.open() as lines:
        next(lines, None)
        for line in lines:
            _, local, _, state, *_ = line.split(maxsplit=4)
            host, _, port_text = local.partition(":")
            if state == _LISTEN and int(port_text, 16) == port:
                yield _host(host)


def _host(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address as the kernel writes it: hexadecimal words of 32 bits in the machine's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(words) == 1:
        return ipaddress.IPv4Address(packed)
    address = ipaddress.IPv6Address(packed)
    return address.ipv4_mapped or address


def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, TcpAddress]]:
    """Return the addresses of a host: an IP address is one, a name may have several.

    Raises:
        OSError: the name is unknown.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, TcpAddress(str(name[0]), port)) for family, _, _, _, name in found))


def bind(
    family: socket.AddressFamily,
    address: TcpAddress,
    *,
    patience_seconds: float = 0.0,
    report: Callable[[str], None] | None = None,
) -> socket.socket:
    """Return a socket that is bound to ``address``.

    A port that only a connection has is waited for: other programs' connections end, and a restart must not fail
    because of one.

    Args:
        family: of the address.
        address: an IP address and a port.
        patience_seconds: how long to wait.
        report: is told in words that the address is waited for.

    Raises:
        OSError: it cannot be bound; ``explain`` says why.
    """
    deadline = time.monotonic() + patience_seconds
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        while not _try_to_bind(sock, address, is_last=time.monotonic() >= deadline):
            if report is not None:
                report(f"waiting for {address}: {_CONNECTION_HAS_IT}")
                report = None
            time.sleep(_RETRY_SECONDS)
    except BaseException:
        sock.close()
        raise
    return sock


def _try_to_bind(sock: socket.socket, address: TcpAddress, *, is_last: bool) -> bool:
    """Bind once; whether it worked.  What waiting does not change is raised."""
    try:
        sock.bind((address.host, address.port))
    except OSError as error:
        if is_last or error.errno != errno.EADDRINUSE or is_listened_on(address) is not False:
            raise
        return False
    return True


def explain(error: OSError, address: TcpAddress) -> str:
    """Return in words why ``address`` cannot be bound, and what to do."""
    match error.errno:
        case errno.EADDRINUSE:
            return _who_has(address)
        case errno.EACCES:
            return "permission denied (a port below 1024 needs root or CAP_NET_BIND_SERVICE)"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case _:
            return error.strerror or str(error)


def _who_has(address: TcpAddress) -> str:
    is_held = is_listened_on(address)
    if is_held is not False:
        return "the port is in use" if is_held is None else "another program listens there already"
    if not is_ephemeral(address.port):
        return f"{_CONNECTION_HAS_IT}; it ends within some minutes"
    return f"{_CONNECTION_HAS_IT}: {in_ephemeral_range()}"


def in_ephemeral_range() -> str:
    """Return what is wrong with a port that ``is_ephemeral``, and what to do."""
    ports = ephemeral_ports()
    return (
        f"outgoing connections get the ports {ports[0]}-{ports[-1]} (net.ipv4.ip_local_port_range); "
        "take another port, or reserve this one with net.ipv4.ip_local_reserved_ports"
    )
