"""The history of deploys, from the events of the journal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rainbowd.report.journal import Event

RESULTS = {"deploy.succeeded": "succeeded", "deploy.rolled_back": "rolled_back", "deploy.failed": "failed"}
"""The results of deploys, by the event that ends one."""


class DeployEntry(TypedDict):
    """One deploy of the history; values that are not known (yet) are None.

    If several triggers were merged into one deploy, ``at`` and ``seconds`` count from the first, and ``trigger`` and
    ``note`` are the last ones.  ``rollback``: whether a rollback was requested.  ``superseded_by``: the release that
    replaced this one before the deploy ended.  ``seconds`` is by the agent's own clock, unless it was killed before.
    """

    deploy: str
    at: str
    trigger: str | None
    by: str | None
    note: str | None
    release: str | None
    generation: int | None
    result: str | None
    reason: str | None
    output: list[str] | None
    seconds: float | None
    rollback: bool
    superseded_by: str | None


def deploys(events: Iterable[Event]) -> list[DeployEntry]:
    """Return the deploys, newest first.

    Args:
        events: of the journal, oldest first; unknown ones, such as those of a newer version, are ignored.
    """
    found: dict[str, DeployEntry] = {}
    for event in events:
        deploy, name, at = event.get("deploy"), event.get("event"), event.get("at")
        if not isinstance(deploy, str) or not isinstance(at, str):
            continue
        if name == "deploy.requested":
            entry = found.setdefault(deploy, _new_entry(deploy, at))
            entry["trigger"], entry["by"] = _text(event.get("trigger")), _text(event.get("by"))
            _copy_fields(entry, event, "release")
            entry["note"] = _text(event.get("note")) or entry["note"]
            entry["rollback"] = event.get("rollback") is True
        elif name in RESULTS:
            entry = found.setdefault(deploy, _new_entry(deploy, at))  # the file with its first event may be gone
            entry["result"] = RESULTS[str(name)]
            entry["seconds"] = _number(event.get("seconds"))
            if entry["seconds"] is None:
                entry["seconds"] = _seconds_between(entry["at"], at)
            _copy_fields(entry, event, "generation", "release", "reason", "output", "superseded_by")
            entry["rollback"] |= event.get("rollback") is True
    return list(reversed(found.values()))


def previous_release(events: Iterable[Event], live: str | None) -> str | None:
    """Return the release that was live before ``live``; None if there was none. One that was rolled back is no target.

    Args:
        events: of the journal, oldest first.
        live: the release that is live now.
    """
    past: list[str] = []
    for event in events:
        release = event.get("release")
        if not isinstance(release, str):
            continue
        if event.get("event") == "generation.live":
            past = [*(one for one in past if one != release), release]
        elif event.get("event") == "deploy.failed" and event.get("rolled_back_to") is not None:
            past = [one for one in past if one != release]
    return next((release for release in reversed(past) if release != live), None)


def _new_entry(deploy: str, at: str) -> DeployEntry:
    return DeployEntry(
        deploy=deploy,
        at=at,
        trigger=None,
        by=None,
        note=None,
        release=None,
        generation=None,
        result=None,
        reason=None,
        output=None,
        seconds=None,
        rollback=False,
        superseded_by=None,
    )


def _copy_fields(entry: DeployEntry, event: Event, *keys: str) -> None:
    for key in keys:
        if event.get(key) is not None:
            entry[key] = event[key]  # type: ignore[literal-required]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _seconds_between(begun_at: str, ended_at: str) -> float | None:
    try:
        span = datetime.fromisoformat(ended_at) - datetime.fromisoformat(begun_at)
    except (TypeError, ValueError):
        return None
    return round(span.total_seconds(), 3) if span.total_seconds() >= 0 else None  # the clock was set back
