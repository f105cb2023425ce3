"""The settings of new requests."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from rainbowd.config import Hold, Limits
from rainbowd.proxy import ProxySettings, Server
from rainbowd.roster import Roster


def test_settings_are_replaced_as_a_whole() -> None:
    settings = ProxySettings(limits=Limits(), hold=Hold(), trust=())
    with pytest.raises(FrozenInstanceError):
        settings.access = True  # type: ignore[misc]
    server, others = Server(Roster(), settings), ProxySettings(limits=Limits(), hold=Hold(), trust=(), access=True)
    server.configure(others)
    assert server.context.settings is others
