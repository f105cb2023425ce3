"""The limit of ``max_generations``, which counts generations in every state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.broadcast import Broadcast

if TYPE_CHECKING:
    from rainbowd.roster import Roster


class Slots:
    """The slots that the generations of a roster take."""

    def __init__(self, roster: Roster) -> None:
        self._generations = roster.generations
        self._changed = Broadcast()
        roster.observe(self._changed.notify)

    def is_free(self, max_generations: int) -> bool:
        """Return whether one more generation may be launched.

        Args:
            max_generations: how many may be alive.
        """
        return len(self._generations) < max_generations

    async def until_free(self, max_generations: int) -> None:
        """Wait until one more generation may be launched.

        Args:
            max_generations: how many may be alive.
        """
        while not self.is_free(max_generations):
            await self._changed.wait()
