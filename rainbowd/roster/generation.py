"""A generation: one launch of the app out of one release, and the table of the states it may go through."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.address import Address

REFUSAL_GAP_SECONDS = 0.5
"""Refusals further apart than this are separate incidents, not one second of refusing."""


class State(enum.StrEnum):
    """Where a generation is in its life; the values are those of ``status.json``."""

    STARTING = "starting"
    LIVE = "live"
    STANDBY = "standby"
    DRAINING = "draining"
    STOPPING = "stopping"
    RETIRED = "retired"


TRANSITIONS: dict[State, frozenset[State]] = {
    # A candidate that passed its check, or one that failed, was superseded or was not needed any more.
    State.STARTING: frozenset({State.LIVE, State.STOPPING}),
    # Superseded (kept warm or not), or died.
    State.LIVE: frozenset({State.STANDBY, State.DRAINING, State.STOPPING}),
    # Switched back to, its time is over, or died.
    State.STANDBY: frozenset({State.LIVE, State.DRAINING, State.STOPPING}),
    State.DRAINING: frozenset({State.STOPPING}),
    State.STOPPING: frozenset({State.RETIRED}),
    State.RETIRED: frozenset(),
}


class IllegalTransition(Exception):
    """A transition that the table does not hold."""


class LeaseHolder(Protocol):
    """What holds a lease: one exchange at a time, or the tunnel that it became."""

    def cut(self) -> None:
        """End the exchange or tunnel now, in a way that the client can tell from a complete answer."""


@dataclass(slots=True, eq=False)
class Generation:
    """One launch of the app.

    Attributes:
        id: its number, never reused for a state directory.
        release: the resolved directory it runs in.
        address: where it is reached.
        pid: the main process: the child that was launched, until it is known to be another one.
        started_at, live_at: seconds since the epoch; ``live_at`` is None until it was live.
        requests: leases ever given.
        holders: exchanges under way.
        tunnels: connections after ``101 Switching Protocols``.
        on_advance: called when its state has changed.
        on_idle: called when the last of ``holders`` or the last of ``tunnels`` is gone.
        on_refusing: called when the address has refused connections for a whole second.
    """

    id: int
    release: Path
    address: Address
    started_at: float = 0.0
    pid: int | None = None
    live_at: float | None = None
    state: State = State.STARTING
    requests: int = 0
    holders: set[LeaseHolder] = field(default_factory=set)
    tunnels: set[LeaseHolder] = field(default_factory=set)
    on_advance: Callable[[], None] | None = None
    on_idle: Callable[[], None] | None = None
    on_refusing: Callable[[], None] | None = None
    _refused_since: float | None = None
    _refused_last: float = 0.0

    def advance(self, state: State) -> None:
        """Move on to ``state``.

        Raises:
            IllegalTransition: the table has no such transition.
        """
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"generation {self.id}: {self.state} -> {state}")
        self.state = state
        if self.on_advance is not None:
            self.on_advance()

    def lease(self, holder: LeaseHolder) -> None:
        """Count ``holder`` as one exchange of this generation until it is released."""
        self.holders.add(holder)
        self.requests += 1

    def release_lease(self, holder: LeaseHolder) -> None:
        """End the lease of ``holder``, exchange or tunnel."""
        holders = self.holders if holder in self.holders else self.tunnels
        holders.discard(holder)
        if not holders and self.on_idle is not None:
            self.on_idle()

    def become_tunnel(self, holder: LeaseHolder) -> None:
        """From now on ``holder`` is a tunnel, which drains by its own rule."""
        self.tunnels.add(holder)
        self.release_lease(holder)

    def on_connect_refused(self, now_seconds: float, *, limit_seconds: float = 1.0) -> None:
        """A connect was refused at ``now_seconds`` (monotonic); a second of that counts as death."""
        if self._refused_since is None or now_seconds - self._refused_last > REFUSAL_GAP_SECONDS:
            self._refused_since = now_seconds
        self._refused_last = now_seconds
        if now_seconds - self._refused_since >= limit_seconds and self.on_refusing is not None:
            self.on_refusing()

    def on_connect_accepted(self) -> None:
        """A connect succeeded: whatever was refused before is over."""
        self._refused_since = None
