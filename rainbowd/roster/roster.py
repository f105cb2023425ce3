"""The roster of generations, which the deploy side writes and the proxy reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.roster.generation import Generation, IllegalTransition, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.roster.generation import LeaseHolder


class Roster:
    """All generations that are not retired, and which of them is live.

    Attributes:
        live: the generation that new requests go to; None if no generation is live.
        generations: the generations that are not retired, by id.
        is_launch_due: whether requests are held while no generation is live, because a launch is in progress or due.
    """

    __slots__ = ("_launch_due", "_observers", "generations", "live")

    def __init__(self) -> None:
        self.live: Generation | None = None
        self.generations: dict[int, Generation] = {}
        self._launch_due = False
        self._observers: list[Callable[[], None]] = []

    def observe(self, observer: Callable[[], None]) -> None:
        """Call ``observer`` after every change of the set of generations or of their states."""
        self._observers.append(observer)

    def add(self, generation: Generation) -> None:
        """Add a candidate, or a generation that an earlier agent left running."""
        self.generations[generation.id] = generation
        self.notify_observers()

    def promote(self, generation: Generation, *, live_at: float, previous: State = State.DRAINING) -> None:
        """Switch new requests to ``generation``.

        Args:
            generation: a candidate that passed its check, or a standby.
            live_at: seconds since the epoch.
            previous: the next state of the generation that was live: ``STANDBY``, ``DRAINING``, or ``STOPPING`` if it
                has crashed.

        Raises:
            IllegalTransition: ``generation`` is in another state.
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
        """Change the state of ``generation`` to a state other than live.

        If it was live, no generation is live afterwards. A retired generation is removed.

        Raises:
            IllegalTransition: the generation is in another state.
        """
        generation.advance(state)
        if generation is self.live:
            self.live = None
        if state is State.RETIRED:
            del self.generations[generation.id]
        self.notify_observers()

    @property
    def is_launch_due(self) -> bool:
        """Whether requests are held because a launch is in progress or due."""
        return self._launch_due

    @is_launch_due.setter
    def is_launch_due(self, due: bool) -> None:
        if due is not self._launch_due:
            self._launch_due = due
            self.notify_observers()

    def lease(self, holder: LeaseHolder) -> Generation | None:
        """Give ``holder`` a lease on the live generation and return it, or None if no generation is live."""
        generation = self.live
        if generation is not None:
            generation.lease(holder)
        return generation

    def notify_observers(self) -> None:
        """Call every observer, after a change."""
        for observer in self._observers:
            observer()
