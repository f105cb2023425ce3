"""The roster of generations, which the deploy side writes and the proxy reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.roster.canary_share import is_in_share
from rainbowd.roster.generation import Generation, IllegalTransition, State
from rainbowd.roster.view import GenerationView, RosterView

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.roster.generation import LeaseHolder


class Roster:
    """All generations that are not retired, and which of them is live.

    Attributes:
        live: the generation that new requests go to; None if no generation is live.
        canary: the candidate that gets a share of the new requests; None if there is none.
        share_percent: the share of the canary.
        lease: gives a holder a lease on the generation that its request goes to, and returns that; None if no
            generation can serve it. It is one of several functions, so that a canary or a closed gate costs nothing
            while there is none.
        generations: the generations that are not retired, by id.
    """

    __slots__ = (
        "_admits",
        "_by",
        "_catch_up",
        "_observers",
        "_serving_observers",
        "_should_hold",
        "canary",
        "generations",
        "lease",
        "live",
        "share_percent",
    )

    def __init__(self) -> None:
        self.live: Generation | None = None
        self.canary: Generation | None = None
        self.share_percent = 0.0
        self.lease: Callable[[LeaseHolder], Generation | None] = self._lease_live
        self._by = "client"
        self._admits: Callable[[LeaseHolder], bool] | None = None
        self._catch_up: Callable[[], bool] | None = None
        self.generations: dict[int, Generation] = {}
        self._should_hold: Callable[[], bool] = lambda: False
        self._observers: list[Callable[[], None]] = []
        self._serving_observers: list[Callable[[], None]] = []

    def observe(self, observer: Callable[[], None]) -> None:
        """Call ``observer`` after every change of the set of generations or of their states."""
        self._observers = [*self._observers, observer]

    def observe_serving(self, observer: Callable[[], None]) -> None:
        """Call ``observer`` after every change of what serves the requests, and of whether they are held."""
        self._serving_observers = [*self._serving_observers, observer]

    def forget_observer(self, observer: Callable[[], None]) -> None:
        """Do not call ``observer`` any longer."""
        self._observers = [one for one in self._observers if one != observer]

    def add(self, generation: Generation) -> None:
        """Add a candidate, or a generation that an earlier agent left running."""
        self.generations[generation.id] = generation
        self._notify(self._observers)

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
        if generation is self.canary:
            self._end_canary()
        if superseded is not None:
            superseded.advance(previous)
        self.notify_observers()

    def give_share(self, generation: Generation, *, share_percent: float, by: str) -> None:
        """Send a share of the new requests to ``generation``; the live one gets the others.

        Args:
            generation: a candidate that passed its check, or the canary, whose share grows.
            share_percent: from 0 to 100.
            by: how clients are told apart: see ``LeaseHolder.client_identity``.

        Raises:
            IllegalTransition: ``generation`` is in another state.
        """
        if generation is not self.canary:
            generation.advance(State.CANARY)
        self.canary, self.share_percent, self._by = generation, share_percent, by
        self._choose_lease()
        self.notify_observers()

    def advance(self, generation: Generation, state: State) -> None:
        """Change the state of ``generation`` to a state other than live.

        If it was live, no generation is live afterwards. A retired generation is removed.

        Raises:
            IllegalTransition: the generation is in another state.
        """
        was_serving = generation.is_serving
        generation.advance(state)
        if generation is self.live:
            self.live = None
        if generation is self.canary:
            self._end_canary()
        if state is State.RETIRED:
            del self.generations[generation.id]
        if was_serving:
            self._notify(self._serving_observers)
        self._notify(self._observers)

    @property
    def is_launch_due(self) -> bool:
        """Whether requests are held while no generation is live, because a launch is in progress or due."""
        return self._should_hold() or (self._catch_up is not None and not self._catch_up())

    def view(self) -> RosterView:
        """Return the state of this roster, for ``mirror`` in another process."""
        live, canary = self.live, self.canary
        return RosterView(
            tuple(GenerationView(one.id, one.release, one.address, one.state) for one in self.generations.values()),
            live=None if live is None else live.id,
            canary=None if canary is None else canary.id,
            share_percent=self.share_percent,
            by=self._by,
            is_launch_due=self._should_hold(),
        )

    def mirror(self, view: RosterView) -> None:
        """Take over the state of a roster in another process, which owns it; the leases of this roster stay.

        A generation that has been retired there is removed here; a lease on it ends as any other.

        Args:
            view: the state of the other roster.
        """
        for one in view.generations:
            if one.id not in self.generations:
                self.generations[one.id] = Generation(one.id, one.release, one.address)
            self.generations[one.id].set_state(one.state)
        for number in self.generations.keys() - {one.id for one in view.generations}:
            if not view.is_partial:
                self.generations.pop(number).set_state(State.RETIRED)
            elif self.generations[number].is_serving:
                self.generations[number].set_state(State.STANDBY)
        self.live = None if view.live is None else self.generations[view.live]
        self.canary = None if view.canary is None else self.generations[view.canary]
        self.share_percent, self._by = view.share_percent, view.by
        self._choose_lease()
        is_launch_due = view.is_launch_due
        self.hold_while(lambda: is_launch_due)

    def follow(self, catch_up: Callable[[], bool]) -> None:
        """Give leases only in the state that the roster of another process has at that moment.

        Args:
            catch_up: called before each lease; calls ``mirror`` if the other state has changed, and returns whether
                this roster has that state now.
        """
        self._catch_up = catch_up
        self._choose_lease()

    def hold_while(self, is_launch_due: Callable[[], bool]) -> None:
        """Hold requests while no generation is live and a launch is due.

        Args:
            is_launch_due: asked for each request that no generation serves; after it has become false,
                ``notify_observers`` must be called.
        """
        self._should_hold = is_launch_due
        self.notify_observers()

    def close(self, admits: Callable[[LeaseHolder], bool]) -> None:
        """Give leases only to the holders that ``admits`` returns True for, until ``open`` is called."""
        self._admits = admits
        self._choose_lease()
        self.notify_observers()

    def open(self) -> None:
        """Give leases to all holders again."""
        self._admits = None
        self._choose_lease()
        self.notify_observers()

    def choose(self, holder: LeaseHolder) -> Generation | None:
        """Return the generation for the request of ``holder``: the canary for clients in its share, else the live."""
        canary = self.canary
        if canary is not None and is_in_share(holder.client_identity(self._by), self.share_percent, canary.id):
            return canary
        return self.live

    def _lease_live(self, holder: LeaseHolder) -> Generation | None:
        generation = self.live
        if generation is not None:
            generation.lease(holder)
        return generation

    def _lease_current(self, holder: LeaseHolder) -> Generation | None:
        is_current = self._catch_up is None or self._catch_up()
        return self._lease_chosen(holder) if is_current else None

    def _lease_chosen(self, holder: LeaseHolder) -> Generation | None:
        if self._admits is not None and not self._admits(holder):
            return None
        generation = self.choose(holder)
        if generation is not None:
            generation.lease(holder)
        return generation

    def _choose_lease(self) -> None:
        is_plain = self.canary is None and self._admits is None
        if self._catch_up is not None:
            self.lease = self._lease_current
        else:
            self.lease = self._lease_live if is_plain else self._lease_chosen

    def _end_canary(self) -> None:
        self.canary, self.share_percent, self._by = None, 0.0, "client"
        self._choose_lease()

    def notify_observers(self) -> None:
        """Call every observer, after a change of what serves the requests."""
        self._notify(self._serving_observers)
        self._notify(self._observers)

    def _notify(self, observers: list[Callable[[], None]]) -> None:
        for observer in observers:
            observer()
