"""What the API asks the agent for: the only things of it that are known here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import trio

    from rainbowd.roster import Roster


class Outcome(Protocol):
    """How a deploy was decided."""

    @property
    def result(self) -> str:
        """``succeeded``, ``rolled_back`` or ``failed``."""

    @property
    def generation(self) -> int | None:
        """The number of what is live by it, or of the candidate that failed."""

    @property
    def release(self) -> Path | None:
        """What is live by it, or what was to be."""

    @property
    def reason(self) -> str | None:
        """Why it failed."""

    @property
    def output(self) -> Sequence[str]:
        """The app's last lines, oldest first."""


class Deploy(Protocol):
    """A deploy that was asked for."""

    @property
    def id(self) -> str:
        """By which the journal is read."""

    @property
    def finished(self) -> trio.Event:
        """Set when there is an outcome."""

    @property
    def outcome(self) -> Outcome | None:
        """None before."""


class Usage(Protocol):
    """What a generation takes of the machine."""

    @property
    def processes(self) -> int:
        """How many it has."""

    @property
    def memory_bytes(self) -> int:
        """Resident."""

    @property
    def cpu_seconds(self) -> float:
        """So far."""


class Traffic(Protocol):
    """What the proxy counts while somebody reads it."""

    @property
    def by_class(self) -> Sequence[int]:
        """Exchanges by the first digit of their status; at 0 those whose client went away."""

    @property
    def bounds_seconds(self) -> Sequence[float]:
        """The upper bounds of all buckets but the last."""

    @property
    def by_duration(self) -> Sequence[int]:
        """What the app answered, by bucket."""

    @property
    def seconds(self) -> float:
        """The sum of these durations."""

    @property
    def sent_bytes(self) -> int:
        """Of bodies, to clients."""

    @property
    def broken(self) -> int:
        """Answers that the app broke off."""

    @property
    def own(self) -> Mapping[int, int]:
        """Answers that were rainbowd's, by status."""


@dataclass(frozen=True)
class ProxyCounters:
    """The proxy's numbers at one moment.

    Attributes:
        connections, connections_max: of clients; None for no limit.
        waiting, held: requests that wait for something to be live, and all that ever did.
        idle, opened: connections to the app that are kept for the next request, and all that were ever begun.
        retries: requests sent again, as a kept connection was dead.
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
    """What the metrics are made of.

    Attributes:
        roster: with the generations alive.
        traffic: what was served.
        proxy: its numbers now.
        usage: what each generation takes now, by number; reads files.
        observe: has a function told each event of the journal, with its fields.
        last_result: of the last deploy; None where there was none.
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
        state_dir: with the journal.
        status: as ``status.json`` has it, at this moment.
        redeploy: asks for a deploy of what the files name (None), or turns the link to another release for it; with the
            deployer's note. Raises Declined where that cannot be, and nothing was done.
        rollback: the same for what was live before.
        sources: of the metrics.
        settle: returns once the files have all that has happened so far, or it is too late to wait for a failing disk.
        journal_written: an event that is set when there is more in the journal than when it was asked for.
    """

    state_dir: Path
    status: Callable[[], Mapping[str, object]]
    redeploy: Callable[[str | None, str | None], Awaitable[Deploy]]
    rollback: Callable[[str | None], Awaitable[Deploy]]
    sources: MetricSources
    settle: Callable[[], Awaitable[None]]
    journal_written: Callable[[], trio.Event]
