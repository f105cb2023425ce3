"""The content of ``status.json``: the agent, the deploys, the warnings and the generations at one moment."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from rainbowd.agent.maintenance import SiteStatus
from rainbowd.deploy.deploys.progress import Progress, Step
from rainbowd.deploy.warnings import warnings
from rainbowd.roster import whole_if_possible
from rainbowd.timestamp import timestamp as rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.deploys.snapshot import DeploySnapshot
    from rainbowd.deploy.generations.crash_count import CrashCount
    from rainbowd.deploy.records import LastOutcome
    from rainbowd.roster import Generation, KeptProcesses, ProcessStatus, Roster

OPEN = SiteStatus()


def build_status(
    agent: Mapping[str, object], roster: Roster, deploys: DeploySnapshot, site: SiteStatus = OPEN
) -> dict[str, object]:
    """Return the present status, ready for ``report.status.write``.

    Args:
        agent: the entry of that name.
        roster: the generations.
        deploys: the supervisor's snapshot.
        site: whether the site is closed.
    """
    return {
        "agent": dict(agent),
        "live": roster.live.id if roster.live is not None else None,
        "maintenance": _closed(site.maintenance_at, by=site.maintenance_by),
        "pause": _closed(site.pause_at, seconds=site.pause_seconds),
        "wanted": str(deploys.named_release) if deploys.named_release is not None else None,
        "deploying": _deploying(deploys.deploying, deploys.progress, roster),
        "last_deploy": _last_deploy(deploys.last_outcome),
        "crashes": _crashes(deploys.crashes),
        "kept": _kept(deploys.kept),
        "warnings": [{"kind": kind, "text": text} for kind, text in warnings(roster.live, deploys)],
        "generations": [{**_generation(one), **_judged(one, roster, deploys)} for one in roster.generations.values()],
    }


@lru_cache(maxsize=256)
def timestamp(at_seconds: float) -> str:
    """Format a time in UTC with milliseconds, as RFC 3339; each time is in many statuses.

    Args:
        at_seconds: seconds since the epoch.
    """
    return rfc3339(datetime.fromtimestamp(at_seconds, UTC))


def _closed(at_seconds: float | None, **fields: object) -> dict[str, object] | None:
    return None if at_seconds is None else {"at": timestamp(at_seconds), **fields}


def _deploying(deploy: Deploy | None, progress: Progress | None, roster: Roster) -> dict[str, object] | None:
    if deploy is None or progress is None:
        return None
    release, candidate = deploy.release, roster.generations.get(deploy.generation or 0)
    last_check = None if candidate is None else candidate.last_check.result
    step = Step.HEALTH if progress.step is Step.BOOT and last_check is not None else progress.step
    return {
        "deploy": deploy.id,
        "release": str(release) if release is not None else None,
        "generation": deploy.generation,
        "trigger": deploy.trigger,
        "rollback": deploy.is_rollback,
        "by": deploy.by,
        "note": deploy.note,
        "at": timestamp(deploy.requested_at_seconds or progress.since),
        "step": step.value,
        "step_at": timestamp(progress.since),
        "output": list(progress.output),
        "output_lines": progress.output_lines,
        "last_check": last_check,
    }


def _last_deploy(outcome: LastOutcome | None) -> dict[str, object] | None:
    if outcome is None:
        return None
    at = timestamp(outcome.at_seconds)
    return {
        "deploy": outcome.deploy,
        "result": outcome.result,
        "reason": outcome.reason,
        "at": at,
        "rollback": outcome.is_rollback,
    }


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
        "errors": generation.errors,
        "processes": [_process(process) for process in generation.processes],
    }


def _kept(kept: KeptProcesses | None) -> dict[str, object] | None:
    if kept is None:
        return None
    return {"generation": kept.generation, "processes": [_process(process) for process in kept.processes]}


def _process(process: ProcessStatus) -> dict[str, object]:
    return {
        "name": process.name,
        "instance": process.instance,
        "state": process.state.value,
        "pid": process.pid,
        "started_at": timestamp(process.started_at) if process.started_at is not None else None,
        "restarts": process.restarts,
    }


def _judged(generation: Generation, roster: Roster, deploys: DeploySnapshot) -> dict[str, object]:
    """Return the state of the bake or the canary that a generation is in; empty if it is in neither."""
    deploy = deploys.deploying
    judged = None if deploys.progress is None else deploys.progress.judged
    if judged is None or deploy is None or deploy.generation != generation.id:
        return {}
    counts = judged.watch.counts
    told = {"until": timestamp(judged.until_seconds), "requests": counts.requests, "errors": counts.errors}
    if generation is roster.canary:
        return {"share": whole_if_possible(roster.share_percent), "canary": told}
    return {"bake": told} if generation is roster.live else {}
