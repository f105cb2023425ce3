"""TCP ports of this machine: binding them, finding who uses them, and the ports of outgoing connections."""

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
_USED_BY_CONNECTION = "no program listens there, but a connection uses this port as its local port"


def ephemeral_ports() -> range:
    """Return ``net.ipv4.ip_local_port_range``: the ports that the kernel gives to outgoing connections (ip(7))."""
    try:
        first, last = map(int, (_SYSCTL / "ip_local_port_range").read_text().split())
    except OSError:
        return range(0)
    return range(first, last + 1)


def is_ephemeral(port: int) -> bool:
    """Return whether the kernel may give ``port`` to an outgoing connection: in the range, and not reserved."""
    return port in ephemeral_ports() and not any(port in ports for ports in _reserved())


def _reserved() -> Iterator[range]:
    """Yield the ranges of ``net.ipv4.ip_local_reserved_ports``, such as ``8080,9100-9200``."""
    try:
        text = (_SYSCTL / "ip_local_reserved_ports").read_text().strip()
    except OSError:
        return
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield range(int(first), int(last or first) + 1)


def is_listened_on(address: TcpAddress) -> bool | None:
    """Return whether a program listens on the port of ``address``, at the same IP address or at every one.

    Returns:
        None if /proc cannot be read.
    """
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
    """Return the addresses of a host, each with its socket family.

    Args:
        host: an IP address, or a name, which may have several addresses.
        port: the port of each returned address.

    Raises:
        OSError: the name cannot be resolved.
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

    If only a connection uses the port, this waits until that connection ends, so that it cannot make a restart fail.

    Args:
        family: of the address.
        address: an IP address and a port.
        patience_seconds: how long to wait.
        report: called with one sentence when the waiting begins.

    Raises:
        OSError: the address cannot be bound; ``explain`` describes the reason.
    """
    deadline = time.monotonic() + patience_seconds
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        while not _try_to_bind(sock, address, is_last=time.monotonic() >= deadline):
            if report is not None:
                report(f"waiting for {address}: {_USED_BY_CONNECTION}")
                report = None
            time.sleep(_RETRY_SECONDS)
    except BaseException:
        sock.close()
        raise
    return sock


def _try_to_bind(sock: socket.socket, address: TcpAddress, *, is_last: bool) -> bool:
    """Try once to bind ``sock``; return False if it is worth waiting.

    Raises:
        OSError: waiting would not help, or this was the last attempt.
    """
    try:
        sock.bind((address.host, address.port))
    except OSError as error:
        if is_last or error.errno != errno.EADDRINUSE or is_listened_on(address) is not False:
            raise
        return False
    return True


def explain(error: OSError, address: TcpAddress) -> str:
    """Return why ``address`` cannot be bound, and what to do.

    Args:
        error: as ``bind`` raised it.
        address: that was to be bound.
    """
    match error.errno:
        case errno.EADDRINUSE:
            return _describe_user(address)
        case errno.EACCES:
            return "permission denied (a port below 1024 needs root or CAP_NET_BIND_SERVICE)"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case _:
            return error.strerror or str(error)


def _describe_user(address: TcpAddress) -> str:
    is_listened = is_listened_on(address)
    if is_listened is not False:
        return "the port is in use" if is_listened is None else "another program listens there already"
    if not is_ephemeral(address.port):
        return f"{_USED_BY_CONNECTION}; it ends within a few minutes"
    return f"{_USED_BY_CONNECTION}: {explain_ephemeral()}"


def explain_ephemeral() -> str:
    """Return why a port that ``is_ephemeral`` should not be listened on, and what to do."""
    ports = ephemeral_ports()
    return (
        f"outgoing connections get the ports {ports[0]}-{ports[-1]} (net.ipv4.ip_local_port_range); "
        "choose another port, or reserve this one with net.ipv4.ip_local_reserved_ports"
    )
