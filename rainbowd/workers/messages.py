"""The messages between the agent and a worker, in addition to those of every follower."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from rainbowd.config import Hold, Limits
from rainbowd.peers import Message
from rainbowd.proxy import Maintenance, ProxySettings
from rainbowd.roster import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_COUNTERS = ("broken", "by_class", "by_duration", "own", "seconds", "sent_bytes")
"""The attributes of ``Traffic``."""


@dataclass(frozen=True)
class Work(Message):
    """The first message to a worker, with the descriptors of the shared numbers and of the listening sockets.

    Attributes:
        version: of the agent.
        pid: of the agent.
        index: of the worker; the agent has 0.
        processes: how many processes serve.
        level, format: of the log.
    """

    kind: ClassVar[str] = "work"

    version: str
    pid: int = 0
    index: int = 0
    processes: int = 0
    level: str = "info"
    format: str = "auto"


@dataclass(frozen=True)
class Configure(Message):
    """The settings of new requests.

    Attributes:
        number: see ``rainbowd.peers``.
        settings: as ``encode_settings`` returns them.
    """

    kind: ClassVar[str] = "configure"

    number: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class SiteChange(Message):
    """Whether the site is closed, and its error pages; text stands for bytes.

    Attributes:
        number: see ``rainbowd.peers``.
        maintenance: as ``encode_maintenance`` returns it; None without maintenance.
        pause_seconds: how long a request waits at most during a pause; None without a pause.
        pages: the error pages, by their status.
    """

    kind: ClassVar[str] = "site"

    number: int
    maintenance: Mapping[str, Any] | None
    pause_seconds: float | None
    pages: Mapping[str, str]


@dataclass(frozen=True)
class HandOver(Message):
    """An order to finish as the old agent of an upgrade does.

    Attributes:
        timeout, tunnels: see ``Server.hand_over``.
        shared: whether the new agent listens, for each listening socket.
    """

    kind: ClassVar[str] = "hand_over"

    timeout: float
    tunnels: float
    shared: Sequence[bool]


@dataclass(frozen=True)
class CloseIdle(Message):
    """An order to close the connections that are between two requests."""

    kind: ClassVar[str] = "close_idle"


@dataclass(frozen=True)
class Counts(Message):
    """The counters of a worker since its last report, and its gauges.

    Attributes:
        held, opened, retries: see ``ProxyCounters``.
        idle: connections to the app that are kept, now.
        traffic: as ``encode_traffic`` returns it.
    """

    kind: ClassVar[str] = "counts"

    held: int = 0
    opened: int = 0
    retries: int = 0
    idle: int = 0
    traffic: Mapping[str, Any] = field(default_factory=dict)


def encode_settings(settings: ProxySettings) -> dict[str, Any]:
    """Return settings, ready for JSON."""
    return {
        "limits": settings.limits.model_dump(),
        "hold": settings.hold.model_dump(),
        "trust": [str(network) for network in settings.trust],
        "access": settings.access,
        "assets": [prefix.decode("latin-1") for prefix in settings.assets],
    }


def decode_settings(content: Mapping[str, Any]) -> ProxySettings:
    """Return the settings that ``encode_settings`` encoded."""
    return ProxySettings(
        limits=Limits(**content["limits"]),
        hold=Hold(**content["hold"]),
        trust=tuple(ipaddress.ip_network(network) for network in content["trust"]),
        access=content["access"],
        assets=tuple(prefix.encode("latin-1") for prefix in content["assets"]),
    )


def encode_maintenance(maintenance: Maintenance | None) -> dict[str, Any] | None:
    """Return the rules of a maintenance, ready for JSON."""
    if maintenance is None:
        return None
    return {
        "content": maintenance.content.decode("latin-1"),
        "retry_after_seconds": maintenance.retry_after_seconds,
        "allow": [str(network) for network in maintenance.allow],
    }


def decode_maintenance(content: Mapping[str, Any] | None) -> Maintenance | None:
    """Return the maintenance that ``encode_maintenance`` encoded."""
    if content is None:
        return None
    allow = tuple(ipaddress.ip_network(network) for network in content["allow"])
    return Maintenance(content["content"].encode("latin-1"), content["retry_after_seconds"], allow)


def encode_traffic(traffic: Traffic) -> dict[str, Any]:
    """Return counters, ready for JSON."""
    return {name: getattr(traffic, name) for name in _COUNTERS}


def decode_traffic(content: Mapping[str, Any]) -> Traffic:
    """Return the counters that ``encode_traffic`` encoded."""
    traffic = Traffic()
    for name in _COUNTERS:
        setattr(traffic, name, content[name])
    traffic.own = {int(status): count for status, count in traffic.own.items()}
    return traffic
