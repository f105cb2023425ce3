"""The draining of a generation: it waits for the last lease until a timeout, then closes what remains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.broadcast import Broadcast
from rainbowd.log import get_logger
from rainbowd.roster import in_batches

if TYPE_CHECKING:
    from rainbowd.config import Drain
    from rainbowd.roster import Generation, LeaseHolder

_CUT_SECONDS = 1.0
"""How long to wait for the leases of exchanges that were cut."""

log = get_logger()


class Drainer:
    """The wait for the end of the leases of one generation."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._changed = Broadcast()
        generation.on_idle = self._changed.notify

    async def run(self, settings: Drain, since: float) -> None:
        """Return once the generation has no lease left, or its timeouts have been reached.

        Args:
            settings: how long requests and tunnels may last.
            since: when the draining began, by trio's clock.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drain_requests, since + settings.timeout)
            nursery.start_soon(self._drain_tunnels, since + settings.tunnels)
        if trio.current_time() < since + settings.timeout:  # for old assets, requested while tunnels were open
            await self._drain_requests(since + settings.timeout)

    async def _drain_requests(self, deadline: float) -> None:
        generation = self._generation
        with trio.move_on_at(deadline):
            await self._until_empty(generation.holders)
        if generation.holders:
            log.warning(
                "drain timeout reached; closing the remaining requests",
                generation=generation.id,
                requests_cut=len(generation.holders),
            )
        for holder in list(generation.holders):
            holder.cut()
        with trio.move_on_after(_CUT_SECONDS):
            await self._until_empty(generation.holders)

    async def _drain_tunnels(self, deadline: float) -> None:
        generation = self._generation
        with trio.move_on_at(deadline):
            await self._until_empty(generation.tunnels)
        for batch, pause_seconds in in_batches(generation.tunnels):
            for holder in batch:
                holder.cut()
            await trio.sleep(pause_seconds)
        with trio.move_on_after(_CUT_SECONDS):
            await self._until_empty(generation.tunnels)

    async def _until_empty(self, holders: set[LeaseHolder]) -> None:
        while holders:
            await self._changed.wait()
