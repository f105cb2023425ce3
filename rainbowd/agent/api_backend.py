"""The agent's objects behind its API; imported only if the API is enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rainbowd.api.backend import ApiBackend, MetricSources, ProxyCounters
from rainbowd.deploy.process import read_usage
from rainbowd.roster import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rainbowd.deploy.service import DeployService
    from rainbowd.proxy import Server
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster


def make_api_backend(
    *,
    state_dir: Path,
    deploys: DeployService,
    recorder: Recorder,
    roster: Roster,
    server: Server,
    status: Callable[[], Mapping[str, object]],
) -> ApiBackend:
    """Return what the API needs of the agent; from now on the proxy counts its traffic.

    Args:
        state_dir: contains the journal.
        deploys: carries out what the API requests.
        recorder: writes the journal.
        roster: the generations.
        server: the proxy.
        status: returns the present status, as in ``status.json``.
    """
    context = server.context
    context.traffic = Traffic()

    def proxy() -> ProxyCounters:
        return ProxyCounters(
            connections=len(context.clients.served),
            connections_max=context.settings.limits.connections,
            waiting=len(context.held_requests),
            held=context.held_requests.held,
            idle=len(context.pool),
            opened=context.pool.opened,
            retries=context.retries,
        )

    def last_result() -> str | None:
        last = deploys.supervisor.last_outcome
        return last.result if last is not None else None

    def fleet() -> Mapping[str, Any] | None:
        found = status().get("fleet")
        return found if isinstance(found, dict) else None

    return ApiBackend(
        state_dir=state_dir,
        status=status,
        redeploy=deploys.redeploy,
        rollback=deploys.rollback,
        sources=MetricSources(roster, context.traffic, proxy, read_usage, recorder.observe, last_result, fleet),
        settle=recorder.settle,
        journal_written=lambda: recorder.written,
    )
