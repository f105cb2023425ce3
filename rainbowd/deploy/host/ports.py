"""Choosing a free TCP port for a generation."""

from __future__ import annotations

import random
import socket
from contextlib import closing
from typing import TYPE_CHECKING

from rainbowd.errors import DeployFailed
from rainbowd.tcp_ports import ephemeral_ports

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from rainbowd.config import PortRange

_WHERE = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))  # noqa: S104


def choose_port(ports: PortRange, in_use: Collection[int]) -> int:
    """Return a port that an app can bind on any address, at this moment.

    Ports outside ``net.ipv4.ip_local_port_range`` come first: a program that polls a closed port inside that range is
    eventually connected to itself, and other connections of the machine can take the port (ip(7)).  Ports that can be
    bound only with ``SO_REUSEADDR``, because connections to them linger, come last.

    Args:
        ports: the range, both ends included.
        in_use: the ports of other generations, whether they listen yet or not.

    Raises:
        DeployFailed: no port is free.
    """
    for reuse_address in (False, True):
        for port in _candidates(ports):
            if port not in in_use and _can_bind(port, reuse_address=reuse_address):
                return port
    raise DeployFailed(f"ports: no free port in {ports.first}-{ports.last}")


def is_free(port: int) -> bool:
    """Return whether an app can bind ``port`` on any address; connections to it that linger do not matter."""
    return _can_bind(port, reuse_address=True)


def _candidates(ports: PortRange) -> Iterator[int]:
    """Yield all of ``ports`` from a random start, those that the kernel gives to outgoing connections last."""
    count = ports.last - ports.first + 1
    start = random.randrange(count)  # noqa: S311 - spreads, hides nothing
    rotated = [ports.first + (start + step) % count for step in range(count)]
    ephemeral = ephemeral_ports()
    yield from (port for port in rotated if port not in ephemeral)
    yield from (port for port in rotated if port in ephemeral)


def _can_bind(port: int, *, reuse_address: bool) -> bool:
    for family, host in _WHERE:
        try:
            probe = socket.socket(family)
        except OSError:  # a kernel without IPv6
            continue
        with closing(probe):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse_address)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
