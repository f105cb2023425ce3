"""A change that tasks wait for, and that can happen again."""

from __future__ import annotations

import trio


class Broadcast:
    """A notification of all tasks that wait at that moment.

    A task must check its condition before each wait: a notification while it does not wait is lost.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: trio.Event | None = None

    async def wait(self) -> None:
        """Wait for the next notification."""
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()

    def notify(self) -> None:
        """Wake all tasks that wait. Costs next to nothing if none does."""
        event, self._event = self._event, None
        if event is not None:
            event.set()
