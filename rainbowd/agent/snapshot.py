"""``status.json`` as a whole: what the agent is, and every generation that is not retired."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rainbowd.deploy.warnings import warnings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.deploys.supervisor import Supervisor
    from rainbowd.deploy.generations.crash_count import CrashCount
    from rainbowd.deploy.records import Decision
    from rainbowd.roster import Generation, Roster


def snapshot(agent: Mapping[str, object], roster: Roster, supervisor: Supervisor) -> dict[str, object]:
    """The status at this moment, ready for ``report.status.write``."""
    return {
        "agent": dict(agent),
        "live": roster.live.id if roster.live is not None else None,
        "wanted": str(supervisor.named_release) if supervisor.named_release is not None else None,
        "deploying": _deploying(supervisor.deploying),
        "last_deploy": _decision(supervisor.last_decision),
        "crashes": _crashes(supervisor.crashes),
        "warnings": [{"kind": kind, "text": text} for kind, text in warnings(roster.live, supervisor)],
        "generations": [_generation(generation) for generation in roster.generations.values()],
    }


def timestamp(at_seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with milliseconds."""
    return datetime.fromtimestamp(at_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _deploying(deploy: Deploy | None) -> dict[str, object] | None:
    if deploy is None or deploy.progress is None:
        return None
    progress = deploy.progress
    return {
        "deploy": deploy.id,
        "release": str(deploy.release) if deploy.release is not None else None,
        "generation": deploy.generation,
        "trigger": deploy.trigger,
        "rollback": deploy.is_rollback,
        "by": deploy.by,
        "note": deploy.note,
        "at": timestamp(deploy.requested_at_seconds or progress.since),
        "step": progress.step.value,
        "step_at": timestamp(progress.since),
        "output": list(progress.output),
        "output_lines": progress.output_lines,
        "last_check": progress.last_check,
    }


def _decision(decision: Decision | None) -> dict[str, object] | None:
    if decision is None:
        return None
    at = timestamp(decision.at_seconds)
    return {"deploy": decision.deploy, "result": decision.result, "reason": decision.reason, "at": at}


def _crashes(crashes: CrashCount | None) -> dict[str, object] | None:
    if crashes is None:
        return None
    first_at, at = timestamp(crashes.first_at), timestamp(crashes.at)
    return {**vars(crashes), "release": str(crashes.release), "first_at": first_at, "at": at}


def _generation(generation: Generation) -> dict[str, object]:
    return {
        "id": generation.id,
        "state": generation.state.value,
        "release": str(generation.release),
        "address": str(generation.address),
        "pid": generation.pid,
        "started_at": timestamp(generation.started_at),
        "live_at": timestamp(generation.live_at) if generation.live_at is not None else None,
        "in_flight": len(generation.holders),
        "tunnels": len(generation.tunnels),
        "requests": generation.requests,
    }
