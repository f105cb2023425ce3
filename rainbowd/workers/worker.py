"""One worker, as the agent sees it: a follower that also counts its traffic."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rainbowd.peers import Follower, Leases
from rainbowd.workers.messages import Counts, decode_traffic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rainbowd.peers import Channel
    from rainbowd.proxy.context import Context
    from rainbowd.roster import Roster, RosterView
    from rainbowd.workers.shared import SharedNumbers


class Worker(Follower):
    """One worker.

    Args:
        channel: to the worker.
        roster: of the agent.
        index: of the worker; the agent has 0.
        shared: the numbers that all processes share.
        context: of the agent's own proxy, whose counters are those of all processes.

    Attributes:
        idle: connections to the app that it keeps.
        exchanges: how many it has counted.
    """

    def __init__(self, channel: Channel, roster: Roster, index: int, shared: SharedNumbers, context: Context) -> None:
        super().__init__(channel, roster, Leases())
        self.idle = 0
        self.exchanges = 0
        self._index = index
        self._shared = shared
        self._context = context

    def on_sent(self, number: int) -> None:
        """Let the worker give no lease before it has read the message with ``number``."""
        self._shared.sent[self._index] = number

    def view(self) -> RosterView:
        """Return the state for the worker.

        When the live generation crashes, a launch becomes due a moment later, and no event reports that.  So the worker
        holds requests in any case, until the next state is sent.
        """
        view, sent = super().view(), self.sent_view
        is_new = view.live is None and (sent is None or sent.live is not None)
        return replace(view, is_launch_due=True) if is_new else view

    def handle(self, content: Mapping[str, Any]) -> None:
        """Add the counters of the worker to those of the agent."""
        if content["kind"] != Counts.kind:
            return
        counts, context = Counts.read(content), self._context
        context.held_requests.held += counts.held
        context.pool.opened += counts.opened
        context.retries += counts.retries
        self.idle = counts.idle
        traffic = decode_traffic(counts.traffic)
        self.exchanges += traffic.exchanges
        if context.traffic is not None:
            context.traffic.add(traffic)
