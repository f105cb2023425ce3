"""What the API needs from the agent: nothing else of the agent is known in this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import trio

    from rainbowd.report.outcome import RequestedDeploy
    from rainbowd.report.resource_usage import ResourceUsage
    from rainbowd.roster import KeptProcesses, Roster, Traffic


@dataclass(frozen=True)
class ProxyCounters:
    """The proxy's numbers at one moment.

    Attributes:
        connections, connections_max: of clients; None for no limit.
        waiting, held: requests that wait until a generation is live, and all that ever waited.
        idle, opened: connections to the app that are kept for the next request, and all that were ever opened.
        retries: requests sent again because a kept connection was closed.
        processes: the connections and requests of each process, if there are several; the agent is the first.
    """

    connections: int
    connections_max: int | None
    waiting: int
    held: int
    idle: int
    opened: int
    retries: int
    processes: Sequence[Mapping[str, int | None]] = ()


def no_fleet() -> None:
    """Return the status of a machine that is in no fleet."""


def none_kept() -> None:
    """Return the kept companion processes of an agent whose app runs."""


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
        fleet: returns the status's ``fleet``; None if this machine is in no fleet.
        kept: returns the companion processes that go on while their app is launched again; None if there are none.
    """

    roster: Roster
    traffic: Traffic
    proxy: Callable[[], ProxyCounters]
    usage: Callable[[], Mapping[int, ResourceUsage]]
    observe: Callable[[Callable[[str, Mapping[str, object]], None]], None]
    last_result: Callable[[], str | None]
    fleet: Callable[[], Mapping[str, Any] | None] = no_fleet
    kept: Callable[[], KeptProcesses | None] = none_kept


@dataclass(frozen=True)
class ApiBackend:
    """What the agent does for its API.

    Attributes:
        state_dir: contains the journal.
        status: returns the present status, as in ``status.json``.
        redeploy: requests a deploy of the release that the files name (None), or points the link at another release
            first; with the deployer's note and name, and whether to skip canary and bake. Raises Declined if that is
            not possible, and then nothing was done.
        rollback: the same for the previously live release.
        sources: of the metrics.
        settle: waits until the files contain everything that has happened, or until a failing disk took too long.
        journal_written: returns an event that is set when the journal has grown since the call.
    """

    state_dir: Path
    status: Callable[[], Mapping[str, object]]
    redeploy: Callable[[str | None, str | None, str | None, bool], Awaitable[RequestedDeploy]]
    rollback: Callable[[str | None, str | None], Awaitable[RequestedDeploy]]
    sources: MetricSources
    settle: Callable[[], Awaitable[None]]
    journal_written: Callable[[], trio.Event]
