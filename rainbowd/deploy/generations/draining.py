"""Waiting for the last lease of a generation, as long as the rules allow; then what is left is cut, visibly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger

if TYPE_CHECKING:
    from rainbowd.config import Drain
    from rainbowd.roster import Generation, LeaseHolder

TUNNELS_CLOSE_SECONDS = 5.0
"""Over how long tunnels are closed whose time is over, so that their clients do not come back all at once."""
_TUNNEL_BATCHES = 50
_CUT_SECONDS = 1.0  # for exchanges that were cut to be gone

log = get_logger()


class Drainer:
    """The end of one generation's leases."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._changed = trio.Event()
        generation.on_idle = self._wake

    async def run(self, rules: Drain, since: float) -> None:
        """Return when there are no leases any more.

        Args:
            rules: how long they may last.
            since: when the draining began, by trio's clock.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._requests, since + rules.timeout)
            nursery.start_soon(self._tunnels, since + rules.tunnels)

    async def _requests(self, deadline: float) -> None:
        generation = self._generation
        with trio.move_on_at(deadline):
            await self._until_empty(generation.holders)
        if generation.holders:
            log.warning("the time to drain is over", generation=generation.id, requests_cut=len(generation.holders))
        for holder in list(generation.holders):
            holder.cut()
        with trio.move_on_after(_CUT_SECONDS):
            await self._until_empty(generation.holders)

    async def _tunnels(self, deadline: float) -> None:
        generation = self._generation
        with trio.move_on_at(deadline):
            await self._until_empty(generation.tunnels)
        left = list(generation.tunnels)
        batch = -(-len(left) // _TUNNEL_BATCHES)
        for at in range(0, len(left), batch or 1):
            for holder in left[at : at + batch]:
                holder.cut()
            await trio.sleep(TUNNELS_CLOSE_SECONDS * batch / len(left))
        with trio.move_on_after(_CUT_SECONDS):
            await self._until_empty(generation.tunnels)

    async def _until_empty(self, holders: set[LeaseHolder]) -> None:
        while holders:
            await self._changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
