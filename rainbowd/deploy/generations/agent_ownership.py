"""Which of two agents may stop a generation while one of them replaces the other: always exactly one."""

from __future__ import annotations

import trio


class Ownership:
    """This agent's right to stop the generations that it knows.

    Args:
        is_complete: False for the new agent of an upgrade: until the upgrade is complete, the old agent still owns the
            generations that the new one has adopted.

    Attributes:
        is_given_up: whether all generations belong to another agent, or are about to.
    """

    def __init__(self, *, is_complete: bool = True) -> None:
        self.is_given_up = False
        self._complete = trio.Event()
        if is_complete:
            self._complete.set()

    def complete(self) -> None:
        """Take ownership of the adopted generations."""
        self._complete.set()

    def give_up(self) -> None:
        """Give all generations to another agent."""
        self.is_given_up = True

    def covers(self, *, is_adopted: bool) -> bool:
        """Return whether this agent may stop a generation.

        Args:
            is_adopted: whether an earlier agent has launched it.
        """
        return not self.is_given_up and (self._complete.is_set() or not is_adopted)

    async def until_complete(self) -> None:
        """Wait until this agent owns the adopted generations."""
        await self._complete.wait()
