"""What all connections share."""

from __future__ import annotations

from rainbowd.config import Hold, Limits
from rainbowd.proxy import ProxySettings
from rainbowd.proxy.context import Context
from rainbowd.roster import Roster


def test_a_context_begins_empty_and_open() -> None:
    context = Context(Roster(), ProxySettings(limits=Limits(), hold=Hold(), trust=()))
    assert (len(context.reactor), len(context.pool), len(context.held_requests)) == (0, 0, 0)
    assert (context.closes_after_response, context.is_stopping, context.traffic) == (False, False, None)
    assert not context.clients.served
