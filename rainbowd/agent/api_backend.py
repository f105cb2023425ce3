"""The agent's objects behind its API; imported only if the API is enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rainbowd.api.backend import ApiBackend, MetricSources, ProxyCounters
from rainbowd.deploy.process import read_usage
from rainbowd.roster import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rainbowd.agent.proxies import Proxies
    from rainbowd.deploy.service import DeployService
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster


def make_api_backend(
    *,
    state_dir: Path,
    deploys: DeployService,
    recorder: Recorder,
    roster: Roster,
    proxies: Proxies,
    status: Callable[[], Mapping[str, object]],
) -> ApiBackend:
    """Return what the API needs of the agent; from now on the proxy counts its traffic.

    Args:
        state_dir: contains the journal.
        deploys: carries out what the API requests.
        recorder: writes the journal.
        roster: the generations.
        proxies: the proxy, in all processes.
        status: returns the present status, as in ``status.json``.
    """
    context, workers = proxies.server.context, proxies.workers
    context.traffic = context.traffic or Traffic()

    def proxy() -> ProxyCounters:
        return ProxyCounters(
            connections=len(context.clients.served) if workers is None else workers.connections,
            connections_max=context.settings.limits.connections,
            waiting=len(context.held_requests) if workers is None else workers.waiting,
            held=context.held_requests.held,
            idle=len(context.pool) + (0 if workers is None else workers.idle),
            opened=context.pool.opened,
            retries=context.retries,
            processes=() if workers is None else workers.entries(),
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
        sources=MetricSources(
            roster,
            context.traffic,
            proxy,
            read_usage,
            recorder.observe,
            last_result,
            fleet,
            kept=lambda: deploys.supervisor.snapshot().kept,
        ),
        settle=recorder.settle,
        journal_written=lambda: recorder.written,
    )
