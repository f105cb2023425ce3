"""The old agent after an upgrade: it finishes its requests in flight, and reports them to the new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.peers import Leader, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from rainbowd.peers import Channel
    from rainbowd.roster import Roster
    from rainbowd.upgrade.rendezvous import Rendezvous


class DrainingAgent:
    """The duties of an agent that was upgraded: it reports its leases, and follows the live generation.

    Args:
        channel: to the new agent.
        rendezvous: at which later agents connect if the new one is killed.
        roster: the leases of this agent.
        on_stop: called when the new agent stops, with the seconds that are left to finish.
        on_alone: called when the new agent was killed: until another one connects, no switch is reported.
    """

    def __init__(
        self,
        channel: Channel,
        rendezvous: Rendezvous,
        roster: Roster,
        *,
        on_stop: Callable[[float], None],
        on_alone: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._rendezvous = rendezvous
        self._roster = roster
        self._on_stop = on_stop
        self._on_alone = on_alone

    async def run(self) -> None:
        """Follow the live generation of the new agent, and report the leases of this one, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._accept_agents, nursery)
            await self._converse(self._channel)
            self._on_alone()

    async def _accept_agents(self, nursery: trio.Nursery) -> None:
        while True:
            nursery.start_soon(self._converse, await self._rendezvous.accept())

    async def _converse(self, channel: Channel) -> None:
        """Converse with one agent until it has ended."""
        await Leader(channel, self._roster, self._handle).converse()

    def _handle(self, content: Mapping[str, Any]) -> None:
        if content["kind"] == Stop.kind:
            self._on_stop(Stop.read(content).seconds)
