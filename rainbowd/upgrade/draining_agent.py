"""The old agent after an upgrade: it finishes its requests in flight, and reports them to the new one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from rainbowd.upgrade.roster_messages import encode_leases, follow_live

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.roster import Roster
    from rainbowd.upgrade.channel import Channel, Message
    from rainbowd.upgrade.rendezvous import Rendezvous

_REPORT_SECONDS = 0.05
"""How often leases are compared with those that were reported; a switch is answered at once."""


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
        conversation = _Conversation(channel, self._roster, self._on_stop)
        with contextlib.closing(channel):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conversation.send_loop)
                with contextlib.suppress(EOFError):
                    await conversation.receive_loop()
                nursery.cancel_scope.cancel()


class _Conversation:
    """The messages to and from one of the agents that connected."""

    def __init__(self, channel: Channel, roster: Roster, on_stop: Callable[[float], None]) -> None:
        self._channel = channel
        self._roster = roster
        self._on_stop = on_stop
        self._acknowledged = 0

    async def receive_loop(self) -> None:
        while True:
            message, _ = await self._channel.receive()
            await self._handle(message)

    async def send_loop(self) -> None:
        reported: object = None
        while True:
            leases = encode_leases(self._roster)
            if leases != reported:
                reported = leases
                await self._report()
            await trio.sleep(_REPORT_SECONDS)

    async def _handle(self, message: Message) -> None:
        match message["kind"]:
            case "live":
                follow_live(self._roster, message)
                self._acknowledged = message["number"]
                await self._report()
            case "cut":
                self._cut(**{key: value for key, value in message.items() if key != "kind"})
            case "stop":
                self._on_stop(message["seconds"])

    def _cut(self, *, generation: int, count: int, tunnels: bool) -> None:
        known = self._roster.generations.get(generation)
        if known is not None:
            for holder in list(known.tunnels if tunnels else known.holders)[:count]:
                holder.cut()

    async def _report(self) -> None:
        live = None if self._roster.live is None else self._roster.live.id
        await self._channel.send("leases", leases=encode_leases(self._roster), live=live, heard=self._acknowledged)
