"""The listening sockets of this machine, and the processes that hold them (proc(5)).

The kernel's own tables are read, because their rows matter: a socket that a master shares with its workers is one row
with many holders, and a connect may reach the row of another program.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.address import Address, TcpAddress, UnixAddress
from rainbowd.deploy.process.as_user import as_owner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_NET = Path("/proc/self/net")
_TCP_LISTEN = b"0A"
_UNIX_ROW = re.compile(
    rb"[0-9a-f]+: [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{8}) [0-9A-F]{4} [0-9A-F]{2} +(\d+) (.+)", re.DOTALL
)
"""Address, references, protocol, flags, type, state, inode and name of a socket. Any account may bind one whose name
has line ends, so that there are lines of any content."""
_ACCEPTS_CONNECTIONS = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix


@dataclass(frozen=True)
class ListeningSockets:
    """The addresses on which some processes listen.

    Attributes:
        addresses: as ``HOST:PORT``, ``[V6]:PORT`` or ``unix:PATH``, sorted.
        hidden: whether the descriptors of some process cannot be read, so that there may be more addresses.
    """

    addresses: list[str]
    hidden: bool


def listeners(pids: Collection[int]) -> ListeningSockets:
    """Return where the processes ``pids`` listen; reads /proc, so call it in a thread."""
    sockets, hidden = _sockets_of(pids)
    addresses = {str(address) for address, inode in _rows(is_whole=True) if inode in sockets}
    return ListeningSockets(sorted(addresses), hidden)


def owns(pids: Collection[int], address: Address) -> bool | None:
    """Return whether one of the processes ``pids`` holds the socket that a connect to ``address`` reaches.

    Reads /proc, so call it in a thread.

    Returns:
        None if that is unknown: /proc hides descriptors, or a Unix socket was moved or bound by
        another name.
    """
    sockets, hidden = _sockets_of(pids)
    if _reached(address, list(_rows(is_whole=False))) & sockets:
        return True
    rows = list(_rows(is_whole=True))
    reached = _reached(address, rows)
    if reached & sockets:
        return True
    moved = (
        not reached
        and isinstance(address, UnixAddress)
        and any(isinstance(bound, UnixAddress) and inode in sockets for bound, inode in rows)
    )
    return None if hidden or moved else False


def is_on_every_interface(pids: Collection[int], address: Address) -> bool:
    """Return whether the processes ``pids`` answer at ``address`` on a socket that other hosts can reach too.

    Reads /proc, so call it in a thread.
    """
    sockets, _ = _sockets_of(pids)
    rows = list(_rows(is_whole=False))
    return any(bound in forms(address)[1:] and inode in sockets for bound, inode in rows)


@dataclass(frozen=True)
class Holders:
    """The processes that hold the socket that a connect reaches.

    Attributes:
        pids: of the holders among the processes in question.
        is_bound: whether there is such a socket, held by any process.
    """

    pids: list[int]
    is_bound: bool


def holders(pids: Collection[int], address: Address) -> Holders:
    """Find which of the processes ``pids`` hold the socket that a connect to ``address`` reaches.

    Reads /proc, so call it in a thread.
    """
    reached = _reached(address, list(_rows(is_whole=False))) or _reached(address, list(_rows(is_whole=True)))
    return Holders([pid for pid in pids if reached and reached & _sockets_of([pid])[0]], bool(reached))


def _reached(address: Address, rows: list[tuple[Address, int]]) -> set[int]:
    """Return the inodes of the sockets that a connect to ``address`` reaches: the most specific ones."""
    for form in forms(address):
        inodes = {inode for bound, inode in rows if bound == form}
        if inodes:
            return inodes
    return set()


def forms(address: Address) -> list[Address]:
    """Return the addresses to which a socket can be bound to answer at ``address``, most specific first.

    An IPv4 connect also reaches IPv6 sockets (ipv6(7)): ``::ffff:A.B.C.D`` like ``A.B.C.D``, and ``::`` like
    ``0.0.0.0``; ``_tcp_rows`` writes mapped addresses as IPv4.
    """
    if isinstance(address, UnixAddress):
        return [address]
    anywhere = ["::"] if ":" in address.host else ["0.0.0.0", "::"]  # noqa: S104 - looked for, not bound
    return [TcpAddress(host, address.port) for host in (address.host, *anywhere)]


def _sockets_of(pids: Collection[int]) -> tuple[set[int], bool]:
    """Return the inodes of the sockets that ``pids`` hold, and whether some descriptors cannot be read."""
    inodes: set[int] = set()
    hidden = False
    for pid in pids:
        try:
            with as_owner(pid):
                inodes.update(_sockets(Path(f"/proc/{pid}/fd")))
        except PermissionError:
            hidden = True
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
    return inodes, hidden


def _sockets(descriptors: Path) -> Iterator[int]:
    for descriptor in descriptors.iterdir():
        try:
            target = os.readlink(descriptor)  # noqa: PTH115 - a socket:[INODE] is no path
        except OSError:  # closed meanwhile, or of a path that is too long to name
            continue
        if target.startswith("socket:["):
            yield int(target[len("socket:[") : -1])


def _rows(*, is_whole: bool) -> Iterator[tuple[Address, int]]:
    """Yield the address and the inode of every listening socket.

    Args:
        is_whole: whether to read the tables to their end.  Linux lists listening sockets before connections, of which a
            busy proxy leaves tens of thousands in TIME_WAIT, a tenth of a second to read; but it does not promise to.
    """
    yield from _tcp_rows(_NET / "tcp", is_whole=is_whole)
    yield from _tcp_rows(_NET / "tcp6", is_whole=is_whole)
    for line in (_NET / "unix").read_bytes().split(b"\n"):
        row = _UNIX_ROW.fullmatch(line)
        if row is not None and int(row[1], 16) & _ACCEPTS_CONNECTIONS:
            yield UnixAddress(Path(os.fsdecode(row[3]))), int(row[2])


def _tcp_rows(table: Path, *, is_whole: bool) -> Iterator[tuple[Address, int]]:
    if not table.exists():  # a kernel without IPv6
        return
    with table.open("rb") as lines:
        next(lines, None)
        for line in lines:
            _, local, _, state, _, _, _, _, _, inode, *_ = line.split(maxsplit=10)
            if state == _TCP_LISTEN:
                host, port = local.split(b":")
                yield TcpAddress(_host(host), int(port, 16)), int(inode)
            elif not is_whole:
                return


def _host(text: bytes) -> str:
    """Read an address as the kernel writes it: hexadecimal words of 32 bits in the machine's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(words) == 1:
        return socket.inet_ntop(socket.AF_INET, packed)
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)
