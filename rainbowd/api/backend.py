"""What the API needs from the agent: nothing else of the agent is known in this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import trio

    from rainbowd.roster import Roster


class Outcome(Protocol):
    """The outcome of a deploy."""

    @property
    def result(self) -> str:
        """The result: ``succeeded``, ``rolled_back`` or ``failed``."""

    @property
    def generation(self) -> int | None:
        """The id of the generation that is live after it, or of the candidate that failed."""

    @property
    def release(self) -> Path | None:
        """The release that is live after it, or that failed to become live."""

    @property
    def reason(self) -> str | None:
        """The reason for which it failed, if it did."""

    @property
    def output(self) -> Sequence[str]:
        """The app's last lines, oldest first."""


class Deploy(Protocol):
    """A deploy that the API requested."""

    @property
    def id(self) -> str:
        """The id by which the journal names it."""

    @property
    def finished(self) -> trio.Event:
        """Set when there is an outcome."""

    @property
    def outcome(self) -> Outcome | None:
        """The outcome, or None before there is one."""


class Usage(Protocol):
    """The memory and CPU of a generation."""

    @property
    def processes(self) -> int:
        """The number of its processes."""

    @property
    def memory_bytes(self) -> int:
        """The resident memory of its processes."""

    @property
    def cpu_seconds(self) -> float:
        """The CPU time of its processes so far."""


class Traffic(Protocol):
    """The proxy's counters, while the API is enabled."""

    @property
    def by_class(self) -> Sequence[int]:
        """Exchanges by the first digit of their status; at 0 those whose client went away."""

    @property
    def bounds_seconds(self) -> Sequence[float]:
        """The upper bounds of all buckets but the last."""

    @property
    def by_duration(self) -> Sequence[int]:
        """Responses of the app, by bucket of duration."""

    @property
    def seconds(self) -> float:
        """The sum of these durations, in seconds."""

    @property
    def sent_bytes(self) -> int:
        """Bytes of response bodies sent to clients."""

    @property
    def broken(self) -> int:
        """Responses that the app broke off."""

    @property
    def own(self) -> Mapping[int, int]:
        """Responses that rainbowd wrote itself, by status."""


@dataclass(frozen=True)
class ProxyCounters:
    """The proxy's numbers at one moment.

    Attributes:
        connections, connections_max: of clients; None for no limit.
        waiting, held: requests that wait until a generation is live, and all that ever waited.
        idle, opened: connections to the app that are kept for the next request, and all that were ever opened.
        retries: requests sent again because a kept connection was closed.
    """

    connections: int
    connections_max: int | None
    waiting: int
    held: int
    idle: int
    opened: int
    retries: int


@dataclass(frozen=True)
class MetricSources:
    """The sources of the metrics.

    Attributes:
        roster: the generations alive.
        traffic: the proxy's counters.
        proxy: returns the proxy's numbers now.
        usage: reads the memory and CPU of each generation, by id, from /proc.
        observe: registers a function that is called with each event of the journal and its fields.
        last_result: returns the result of the last deploy; None if there was none.
    """

    roster: Roster
    traffic: Traffic
    proxy: Callable[[], ProxyCounters]
    usage: Callable[[], Mapping[int, Usage]]
    observe: Callable[[Callable[[str, Mapping[str, object]], None]], None]
    last_result: Callable[[], str | None]


@dataclass(frozen=True)
class ApiBackend:
    """What the agent does for its API.

    Attributes:
        state_dir: contains the journal.
        status: returns the present status, as in ``status.json``.
        redeploy: requests a deploy of the release that the files name (None), or points the link at another release
            first; with the deployer's note. Raises Declined if that is not possible, and then nothing was done.
        rollback: the same for the previously live release.
        sources: of the metrics.
        settle: waits until the files contain everything that has happened, or until a failing disk took too long.
        journal_written: returns an event that is set when the journal has grown since the call.
    """

    state_dir: Path
    status: Callable[[], Mapping[str, object]]
    redeploy: Callable[[str | None, str | None], Awaitable[Deploy]]
    rollback: Callable[[str | None], Awaitable[Deploy]]
    sources: MetricSources
    settle: Callable[[], Awaitable[None]]
    journal_written: Callable[[], trio.Event]
