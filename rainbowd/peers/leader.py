"""The agent, as its follower sees it: it owns the states of the generations, and gets the follower's leases."""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from rainbowd.peers.messages import Cut, Leases, Live, encode_leases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rainbowd.peers.channel import Channel
    from rainbowd.roster import Roster

REPORT_SECONDS = 0.2
"""How often leases are compared with those that were reported; a change of the roster is answered at once."""
DRAINING_SECONDS = 0.05
"""How often, while there are leases on a generation that is to end."""
_TEXTS_MAX = 50
"""How many descriptions of errors one report has at most, for each generation."""


class Leader:
    """The messages to and from one agent.

    Args:
        channel: to the agent.
        roster: of this process, which owns its leases only.
        handle: called with each message other than ``Live`` and ``Cut``; returns the message's number if it has one.

    Attributes:
        acknowledged: the number of the last message that has taken effect.
    """

    def __init__(self, channel: Channel, roster: Roster, handle: Callable[[Mapping[str, Any]], int | None]) -> None:
        self.acknowledged = 0
        self._channel = channel
        self._roster = roster
        self._handle_other = handle
        self._reported: Leases | None = None
        self._failed: defaultdict[int, deque[str]] = defaultdict(lambda: deque(maxlen=_TEXTS_MAX))
        self._refusing: set[int] = set()
        self._watch()

    async def converse(self) -> None:
        """Follow the agent, and report to it, until it has ended."""
        with contextlib.closing(self._channel):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._report_loop)
                with contextlib.suppress(EOFError):
                    while True:
                        self._handle((await self._channel.receive())[0])
                nursery.cancel_scope.cancel()

    def catch_up(self) -> None:
        """Let all messages that have arrived take effect now."""
        with contextlib.suppress(EOFError):  # ``converse`` meets it too
            while (received := self._channel.receive_now()) is not None:
                self._handle(received[0])

    def report(self) -> None:
        """Report the leases, unless the agent knows them; if there is no room, they are reported later."""
        live = None if self._roster.live is None else self._roster.live.id
        failed = {number: list(texts) for number, texts in self._failed.items()}
        leases = Leases(encode_leases(self._roster), live, self.acknowledged, failed, tuple(sorted(self._refusing)))
        if leases != self._reported and self._channel.send_now(leases):
            self._failed.clear()
            self._refusing.clear()
            self._reported = Leases(leases.leases, live, self.acknowledged)

    async def _report_loop(self) -> None:
        while True:
            self.report()
            known = self._roster.generations.values()
            is_draining = any(not one.is_serving and (one.holders or one.tunnels) for one in known)
            await trio.sleep(DRAINING_SECONDS if is_draining else REPORT_SECONDS)

    def _handle(self, content: Mapping[str, Any]) -> None:
        number: int | None = None
        match content["kind"]:
            case Live.kind:
                message = Live.read(content)
                self._roster.mirror(message.view)
                self._watch()
                number = message.number
            case Cut.kind:
                self._cut(Cut.read(content))
            case _:
                number = self._handle_other(content)
        if number is not None:
            self.acknowledged = number
            self.report()

    def _cut(self, order: Cut) -> None:
        known = self._roster.generations.get(order.generation)
        if known is not None:
            for holder in list(known.tunnels if order.tunnels else known.holders)[: order.count]:
                holder.cut()

    def _watch(self) -> None:
        """Note errors and refused connections of every generation, for the next report."""
        for number, generation in self._roster.generations.items():
            generation.on_error = partial(self._note_error, number)
            generation.on_refusing = partial(self._refusing.add, number)

    def _note_error(self, number: int, failed: str) -> None:
        self._failed[number].append(failed)
