"""The error rate of the live generation in the recent past, sampled by a task so that no request does more for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.generations.error_rate import SAMPLES, Counts, RecentCounts
from rainbowd.deploy.generations.error_watch import counts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.roster import Generation, Roster

_LEAST_SECONDS = 1.0


class RecentErrors:
    """Samples of the counts of the live generation.

    Args:
        roster: contains it.
        window_seconds: returns how far back the samples must reach: the ``bake.seconds`` of the config in force.
    """

    def __init__(self, roster: Roster, window_seconds: Callable[[], float]) -> None:
        self._roster = roster
        self._window_seconds = window_seconds
        self._generation: Generation | None = None
        self._recent = RecentCounts(0.0)

    def restart(self) -> None:
        """Begin again with the generation that is live now; called right after each switch."""
        self._generation, self._recent = self._roster.live, RecentCounts(self._window_seconds())
        self._recent.add(trio.current_time(), counts_of(self._generation))

    async def run(self) -> None:
        """Sample the live generation until cancelled."""
        while True:
            seconds = self._window_seconds()
            if self._generation is not None and seconds > 0:
                self._recent.add(trio.current_time(), counts_of(self._generation))
            await trio.sleep(max(_LEAST_SECONDS, seconds / SAMPLES))

    def over(self, seconds: float) -> Counts:
        """Return the requests and errors of the live generation in its last ``seconds``."""
        return self._recent.over(seconds, trio.current_time(), counts_of(self._generation))
