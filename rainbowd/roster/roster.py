"""The one place where the deploy side and the proxy meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.roster.generation import Generation, IllegalTransition, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.roster.generation import LeaseHolder


class Roster:
    """The generations alive, which of them is live, and whether one is about to be.

    Attributes:
        live: the one generation that new requests go to.
        generations: all that are not retired, by number.
        is_launch_due: nothing is live, but a launch is under way or due: requests may be held for it.
    """

    __slots__ = ("_launch_due", "_observers", "generations", "live")

    def __init__(self) -> None:
        self.live: Generation | None = None
        self.generations: dict[int, Generation] = {}
        self._launch_due = False
        self._observers: list[Callable[[], None]] = []

    def observe(self, observer: Callable[[], None]) -> None:
        """Call ``observer`` after every change of which generations there are and of their states."""
        self._observers.append(observer)

    def add(self, generation: Generation) -> None:
        """Take in a candidate, or what an earlier agent left."""
        self.generations[generation.id] = generation
        self.notify_observers()

    def promote(self, generation: Generation, *, live_at: float, previous: State = State.DRAINING) -> None:
        """The switch: new requests go to ``generation`` from here on.

        Args:
            generation: a candidate that passed its check, or a standby.
            live_at: seconds since the epoch.
            previous: what becomes of the generation that was live: ``STANDBY``, ``DRAINING``, or ``STOPPING`` where
                it has died.
        """
        superseded, before = self.live, generation.live_at
        generation.live_at = live_at
        try:
            generation.advance(State.LIVE)
        except IllegalTransition:
            generation.live_at = before
            raise
        self.live = generation
        if superseded is not None:
            superseded.advance(previous)
        self.notify_observers()

    def advance(self, generation: Generation, state: State) -> None:
        """Move ``generation`` on to a state other than live; one that was live leaves nothing live behind."""
        generation.advance(state)
        if generation is self.live:
            self.live = None
        if state is State.RETIRED:
            del self.generations[generation.id]
        self.notify_observers()

    @property
    def is_launch_due(self) -> bool:
        """Whether requests may be held because a launch is under way or due."""
        return self._launch_due

    @is_launch_due.setter
    def is_launch_due(self, due: bool) -> None:
        if due is not self._launch_due:
            self._launch_due = due
            self.notify_observers()

    def lease(self, holder: LeaseHolder) -> Generation | None:
        """Give ``holder`` a lease on the live generation, or None where nothing is live."""
        generation = self.live
        if generation is not None:
            generation.lease(holder)
        return generation

    def notify_observers(self) -> None:
        """Tell the observers."""
        for observer in self._observers:
            observer()
