"""Who may end a generation: while one agent takes the place of another, exactly one of them."""

from __future__ import annotations

import trio


class Ownership:
    """This agent's, of the generations that it knows.

    Args:
        is_complete: False for an agent that takes another's place, until it has: should it fail before, what it has
            adopted is still the other's.

    Attributes:
        is_given_up: all is another agent's, or about to be.
    """

    def __init__(self, *, is_complete: bool = True) -> None:
        self.is_given_up = False
        self._complete = trio.Event()
        if is_complete:
            self._complete.set()

    def complete(self) -> None:
        """What was adopted is ours."""
        self._complete.set()

    def give_up(self) -> None:
        """All is another agent's now."""
        self.is_given_up = True

    def covers(self, *, is_adopted: bool) -> bool:
        """Whether a generation is ours to end; what we launched ourselves is, unless all is given up."""
        return not self.is_given_up and (self._complete.is_set() or not is_adopted)

    async def until_complete(self) -> None:
        """Wait until what was adopted is ours, too."""
        await self._complete.wait()
