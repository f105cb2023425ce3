"""The settings that requests are served with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rainbowd.config import Hold, Limits

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class ProxySettings:
    """The settings of new requests, replaced as a whole when the live generation changes.

    Attributes:
        limits: time and size limits of connections and requests.
        hold: how many requests wait while no generation is live, and for how long.
        trust: the networks whose forwarded fields are believed.
        managed: whether rainbowd launches the generations; otherwise a refused connect is final.
        access: whether every request is logged.
        assets: the prefixes of paths that another generation may answer.
    """

    limits: Limits
    hold: Hold
    trust: tuple[Network, ...]
    managed: bool = True
    access: bool = False
    assets: tuple[bytes, ...] = ()
