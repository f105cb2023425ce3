"""Room for one more generation: no more than ``max_generations`` are alive, of any state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from rainbowd.roster import Roster


class Slots:
    """The slots of a roster's generations."""

    def __init__(self, roster: Roster) -> None:
        self._generations = roster.generations
        self._changed = trio.Event()
        roster.observe(self._wake)

    def is_free(self, max_generations: int) -> bool:
        """Whether there is one."""
        return len(self._generations) < max_generations

    async def until_free(self, max_generations: int) -> None:
        """Wait for one."""
        while not self.is_free(max_generations):
            await self._changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
