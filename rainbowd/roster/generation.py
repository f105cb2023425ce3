"""A generation: one launch of the app from one release, and the table of its states."""

from __future__ import annotations

import enum
from collections.abc import Callable  # noqa: TC003 - a compiled dataclass needs the names of its annotations
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - the same
from typing import Protocol

from rainbowd.address import Address  # noqa: TC001 - the same
from rainbowd.roster.companion_status import ProcessStatus  # noqa: TC001 - the same
from rainbowd.roster.last_check import LastCheck

REFUSAL_GAP_SECONDS = 0.5
"""Refused connects that are further apart than this are separate incidents, not one second of refusing."""


class State(enum.StrEnum):
    """The states of a generation, with the values of ``status.json``."""

    STARTING = "starting"
    CANARY = "canary"
    LIVE = "live"
    STANDBY = "standby"
    DRAINING = "draining"
    STOPPING = "stopping"
    RETIRED = "retired"


TRANSITIONS: dict[State, frozenset[State]] = {
    # A candidate that passed its check; or one that failed, was superseded or is no longer needed.
    State.STARTING: frozenset({State.CANARY, State.LIVE, State.STOPPING}),
    # Passed its last step; or failed, was superseded, or crashed.
    State.CANARY: frozenset({State.LIVE, State.DRAINING, State.STOPPING}),
    # Superseded, with or without a standby period, or crashed.
    State.LIVE: frozenset({State.STANDBY, State.DRAINING, State.STOPPING}),
    # Rolled back to, at the end of its standby period, or crashed.
    State.STANDBY: frozenset({State.LIVE, State.DRAINING, State.STOPPING}),
    State.DRAINING: frozenset({State.STOPPING}),
    State.STOPPING: frozenset({State.RETIRED}),
    State.RETIRED: frozenset(),
}


class IllegalTransition(Exception):
    """A transition that the table does not contain."""


SERVING = frozenset({State.LIVE, State.CANARY})
"""The states in which a generation gets new requests."""


class LeaseHolder(Protocol):
    """The client connection of an exchange, or of the tunnel that the exchange became."""

    def client_identity(self, by: str) -> bytes:
        """Return what identifies the client of the present request.

        Args:
            by: ``client``, ``cookie:NAME`` or ``header:NAME``, as in the config's ``canary.by``.
        """

    def cut(self) -> None:
        """End the exchange or tunnel now, so that the client can tell it from a complete response."""


@dataclass(slots=True, eq=False)
class Generation:
    """One launch of the app from one release.

    Attributes:
        id: a number that is never reused in a state directory.
        release: the resolved directory that the app runs in.
        address: the address that the app listens on.
        pid: of the main process: the launched child, until another process is known to be the main one.
        started_at, live_at: seconds since the epoch; ``live_at`` is None until the generation is live.
        state: changed by ``advance`` only.
        is_serving: whether it gets new requests.
        requests: the number of leases so far.
        errors: how many of them the app failed: with a status of 500 or more, or without a complete response.
        holders: the exchanges in flight.
        tunnels: the connections after ``101 Switching Protocols``.
        processes: the status of each of its companion processes.
        last_check: the result of its last health check.
        on_advance: called after each change of the state, with the state and ``live_at``.
        on_error: called after each error, with what failed, such as ``GET /basket: 500``; None if nobody watches.
        on_idle: called when the last of ``holders`` or the last of ``tunnels`` has ended.
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
    errors: int = 0
    holders: set[LeaseHolder] = field(default_factory=set)
    tunnels: set[LeaseHolder] = field(default_factory=set)
    processes: list[ProcessStatus] = field(default_factory=list)
    last_check: LastCheck = field(default_factory=LastCheck)
    on_advance: Callable[[State, float | None], None] | None = None
    on_error: Callable[[str], None] | None = None
    on_idle: Callable[[], None] | None = None
    on_refusing: Callable[[], None] | None = None
    is_serving: bool = field(init=False)
    _refused_since: float | None = None
    _refused_last: float = 0.0

    def __post_init__(self) -> None:
        self.is_serving = self.state in SERVING

    def advance(self, state: State) -> None:
        """Change the state to ``state``.

        Raises:
            IllegalTransition: the table has no such transition.
        """
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"generation {self.id}: {self.state} -> {state}")
        self.state, self.is_serving = state, state in SERVING
        if self.on_advance is not None:
            self.on_advance(state, self.live_at)

    def set_state(self, state: State) -> None:
        """Set the state that another process has decided, which has checked that it is legal."""
        self.state, self.is_serving = state, state in SERVING

    def lease(self, holder: LeaseHolder) -> None:
        """Count ``holder`` as an exchange of this generation until ``release_lease``."""
        self.holders.add(holder)
        self.requests += 1

    def lease_again(self, holder: LeaseHolder) -> None:
        """Count ``holder`` as an exchange of this generation, too, for a request that another one has answered."""
        self.holders.add(holder)

    def release_lease(self, holder: LeaseHolder) -> None:
        """End the lease of ``holder``, which is an exchange or a tunnel."""
        holders = self.holders if holder in self.holders else self.tunnels
        holders.discard(holder)
        if not holders and self.on_idle is not None:
            self.on_idle()

    def become_tunnel(self, holder: LeaseHolder) -> None:
        """Count ``holder`` as a tunnel from now on; tunnels have a drain timeout of their own."""
        self.tunnels.add(holder)
        self.release_lease(holder)

    def count_error(self, failed: str) -> None:
        """Count a request that the app failed.

        Args:
            failed: the request and how it failed, such as ``GET /basket: 500``.
        """
        self.errors += 1
        if self.on_error is not None:
            self.on_error(failed)

    def on_connect_refused(self, now_seconds: float, *, limit_seconds: float = 1.0) -> None:
        """Record a refused connect, and call ``on_refusing`` once they have lasted for a while.

        Args:
            now_seconds: on the monotonic clock.
            limit_seconds: how long connects must be refused before the generation counts as crashed.
        """
        if self._refused_since is None or now_seconds - self._refused_last > REFUSAL_GAP_SECONDS:
            self._refused_since = now_seconds
        self._refused_last = now_seconds
        if now_seconds - self._refused_since >= limit_seconds and self.on_refusing is not None:
            self.on_refusing()

    def on_connect_accepted(self) -> None:
        """Record a successful connect, which ends a series of refused ones."""
        self._refused_since = None
