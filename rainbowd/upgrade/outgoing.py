"""What is left to do for the agent that goes: it finishes what it has, and the new one knows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from rainbowd.upgrade.leases import follow_live, tell_leases

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.roster import Roster
    from rainbowd.upgrade.channel import Channel, Message
    from rainbowd.upgrade.rendezvous import Rendezvous

_TELL_SECONDS = 0.05
"""Between two looks at which leases there are; what is live is answered at once."""


class DrainingAgent:
    """What is left to do for an agent that was upgraded.

    Args:
        link: to the new one.
        meeting: where the next one comes if that is killed.
        on_stop: told that the new one stops, and within how many seconds we are to.
        on_alone: told that it was killed: nobody tells what is live until another has come.
    """

    def __init__(
        self,
        link: Channel,
        meeting: Rendezvous,
        roster: Roster,
        *,
        on_stop: Callable[[float], None],
        on_alone: Callable[[], None],
    ) -> None:
        self._link = link
        self._meeting = meeting
        self._roster = roster
        self._on_stop = on_stop
        self._on_alone = on_alone

    async def run(self) -> None:
        """Follow what is live there, and tell which leases there are here, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._meet, nursery)
            await self._talk(self._link)
            self._on_alone()

    async def _meet(self, nursery: trio.Nursery) -> None:
        while True:
            nursery.start_soon(self._talk, await self._meeting.next())

    async def _talk(self, link: Channel) -> None:
        """With one that came, until it has gone."""
        line = _Line(link, self._roster, self._on_stop)
        with contextlib.closing(link):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.tell)
                with contextlib.suppress(EOFError):
                    await line.hear()
                nursery.cancel_scope.cancel()


class _Line:
    """What is said with one of those that came."""

    def __init__(self, link: Channel, roster: Roster, on_stop: Callable[[float], None]) -> None:
        self._link = link
        self._roster = roster
        self._on_stop = on_stop
        self._heard = 0

    async def hear(self) -> None:
        while True:
            message, _ = await self._link.receive()
            await self._heed(message)

    async def tell(self) -> None:
        told: object = None
        while True:
            leases = tell_leases(self._roster)
            if leases != told:
                told = leases
                await self._send()
            await trio.sleep(_TELL_SECONDS)

    async def _heed(self, message: Message) -> None:
        match message["kind"]:
            case "live":
                follow_live(self._roster, message)
                self._heard = message["number"]
                await self._send()
            case "cut":
                self._cut(**{key: value for key, value in message.items() if key != "kind"})
            case "stop":
                self._on_stop(message["seconds"])

    def _cut(self, *, generation: int, count: int, tunnels: bool) -> None:
        known = self._roster.generations.get(generation)
        if known is not None:
            for holder in list(known.tunnels if tunnels else known.holders)[:count]:
                holder.cut()

    async def _send(self) -> None:
        live = None if self._roster.live is None else self._roster.live.id
        await self._link.send("leases", leases=tell_leases(self._roster), live=live, heard=self._heard)
