"""Parsers for single values of the config, from their text to the types of the models."""

from __future__ import annotations

import ipaddress
import os
import re
import signal
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from rainbowd.address import (
    EXPECTED_ADDRESS,
    PORT_MAX,
    SOCKET_PATH_BYTES,
    Address,
    TcpAddress,
    UnixAddress,
    parse_address,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The grammar of a field name: RFC 9110, section 5.6.2."""

_HOST_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?:{_HOST_LABEL}\.)*(?!\d+\Z){_HOST_LABEL}")
_PORT_RANGE = re.compile(r"(\d{1,5})-(\d{1,5})", re.ASCII)
_STATUS_RANGE = re.compile(r"\s*([1-9]\d\d)(?:-([1-9]\d\d))?\s*", re.ASCII)
_SHELL_SOCKET = re.compile(r"(?<!\$)\{socket\}|\$\{?SOCKET\b")  # ${socket} is a variable of the shell
_ADDRESS = re.compile(r"(?<!\$)\{(port|socket)\}")


@dataclass(frozen=True, slots=True)
class PortRange:
    """A range of ports ``FIRST-LAST``, with both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class StatusRanges:
    """A set of status codes such as ``200-299,401``, with the text that it was parsed from."""

    text: str
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> StatusRanges:
        """Parse a list of status codes and ranges of them.

        Args:
            text: of the config.

        Raises:
            ValueError: the text is not such a list.
        """
        matches = [_STATUS_RANGE.fullmatch(part) for part in text.split(",")]
        ranges = tuple((int(found[1]), int(found[2] or found[1])) for found in matches if found)
        if len(ranges) < len(matches) or any(first > last for first, last in ranges):
            raise ValueError
        return cls(text, ranges)

    def matches(self, code: int) -> bool:
        """Return whether the status ``code`` is in the set."""
        return any(first <= code <= last for first, last in self.ranges)

    def __str__(self) -> str:
        return self.text


def parse_run(value: object) -> str | tuple[str, ...]:
    """Parse a command: a string for the shell, or a list that is executed without one.

    Raises:
        ValueError: it is empty, contains NUL, or has another type.
    """
    parts = value if isinstance(value, list | tuple) else [value]
    texts = [part for part in parts if isinstance(part, str) and "\0" not in part]
    if not texts or len(texts) < len(parts) or not texts[0].strip():
        raise ValueError
    return texts[0] if isinstance(value, str) else tuple(texts)


def parse_companion_run(value: object) -> str | tuple[str, ...]:
    """Parse the command of a companion process, which has no address.

    Raises:
        ValueError: as ``parse_run``, or it has a placeholder for an address; then the message is what was expected.
    """
    run = parse_run(value)
    for word in [run] if isinstance(run, str) else run:
        if (found := _ADDRESS.search(word)) is not None:
            raise ValueError(f"a command without {found[0]}, because a companion process has no {found[1]}")
    return run


def wants_socket(run: str | tuple[str, ...], env: Mapping[str, str]) -> bool:
    """Return whether the command ``run``, or a value of ``env``, contains a placeholder for a Unix socket."""
    if any("{socket}" in value for value in env.values()):
        return True
    if isinstance(run, str):
        return _SHELL_SOCKET.search(run) is not None
    return any("{socket}" in part for part in run)


def parse_listen(value: object, base: Path) -> Address:
    """Parse an address to listen on.

    Args:
        value: of the config.
        base: the directory that a relative path of a Unix socket is relative to.

    Raises:
        ValueError: it is not an address; the message describes a valid one.
    """
    if isinstance(value, TcpAddress | UnixAddress):
        return value
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f'{EXPECTED_ADDRESS}, such as "127.0.0.1:7000"')
    address = parse_address(value)
    if isinstance(address, UnixAddress):
        path = base / address.path
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise ValueError(f"a socket path of at most {SOCKET_PATH_BYTES} bytes")
        return UnixAddress(path)
    if not _is_host(address.host):
        raise ValueError(f"an IP address or a name such as localhost before :{address.port}")
    return address


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _HOST_NAME.fullmatch(host) is not None
    return True


def parse_ports(value: object) -> PortRange:
    """Parse ``FIRST-LAST``: at least two ports, because two generations run at the same time during a deploy.

    Raises:
        ValueError: it is not such a range.
    """
    if isinstance(value, PortRange):
        return value
    found = _PORT_RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 0 < int(found[1]) <= int(found[2]) <= PORT_MAX:
        raise ValueError
    if found[1] == found[2]:
        raise ValueError(
            'two ports or more, such as "20000-29999": during a deploy two generations run, each on its own'
        )
    return PortRange(int(found[1]), int(found[2]))


def parse_status(value: object) -> StatusRanges:
    """Parse a list of status codes: see ``StatusRanges.parse``."""
    return value if isinstance(value, StatusRanges) else StatusRanges.parse(value if isinstance(value, str) else "")


def parse_signal(value: object) -> signal.Signals:
    """Parse the name of a signal, with or without ``SIG``.

    Raises:
        ValueError: no signal has this name.
    """
    if isinstance(value, signal.Signals):
        return value
    name = f"SIG{str(value).upper().removeprefix('SIG')}"
    try:
        return signal.Signals[name]
    except KeyError:
        raise ValueError from None


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """Parse a network ``ADDRESS/BITS``, or one address; bits after the prefix are dropped.

    Raises:
        ValueError: it is not a network.
    """
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        # ip_network would accept an integer as an address.
        return ipaddress.ip_network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        raise ValueError("a network such as 10.0.0.0/8") from None


def is_field_value(text: str) -> bool:
    """Return whether ``text`` can be the value of a field that rainbowd sends: printable ASCII, spaces and tabs."""
    return text.isascii() and text.replace("\t", "").isprintable()
