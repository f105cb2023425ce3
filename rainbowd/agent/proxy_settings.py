"""The part of the config that requests are served with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.proxy import ProxySettings

if TYPE_CHECKING:
    from rainbowd.config import Config


def proxy_settings(config: Config) -> ProxySettings:
    """Return the settings of new requests that ``config`` contains."""
    return ProxySettings(
        limits=config.limits,
        hold=config.hold,
        trust=config.trust,
        access=config.log.access,
        assets=tuple(prefix.encode() for prefix in config.assets),
    )
