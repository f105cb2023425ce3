"""The deploys that a journal tells of, and what was live before what is."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rainbowd.report.journal import Event

DECISIONS = {"deploy.succeeded": "succeeded", "deploy.rolled_back": "rolled_back", "deploy.failed": "failed"}
"""The events that decide a deploy, and the results that they are."""


class DeployEntry(TypedDict):
    """One deploy; of several triggers that were merged into it the last one is told, and the last note.

    ``rollback``: it was to go back.  ``superseded_by``: the release that took its place before it was decided.
    ``at`` and ``seconds`` count from the first of them; what is not known (yet) is None.  ``seconds`` is by the agent's
    own clock, unless it was killed before the end.
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
    """The deploys, newest first.

    Args:
        events: of the journal, oldest first; those that a newer version wrote are passed over.
    """
    found: dict[str, DeployEntry] = {}
    for event in events:
        deploy, name, at = event.get("deploy"), event.get("event"), event.get("at")
        if not isinstance(deploy, str) or not isinstance(at, str):
            continue
        if name == "deploy.requested":
            entry = found.setdefault(deploy, _begun(deploy, at))
            entry["trigger"], entry["by"] = _text(event.get("trigger")), _text(event.get("by"))
            _take(entry, event, "release")
            entry["note"] = _text(event.get("note")) or entry["note"]
            entry["rollback"] = event.get("rollback") is True
        elif name in DECISIONS:
            entry = found.setdefault(deploy, _begun(deploy, at))  # its beginning may be rotated out
            entry["result"] = DECISIONS[str(name)]
            entry["seconds"] = _number(event.get("seconds"))
            if entry["seconds"] is None:
                entry["seconds"] = _seconds(entry["at"], at)
            _take(entry, event, "generation", "release", "reason", "output", "superseded_by")
            entry["rollback"] |= event.get("rollback") is True
    return list(reversed(found.values()))


def last_live_but(events: Iterable[Event], live: str | None) -> str | None:
    """The release that was live last and is not ``live``; None where there was none.

    Args:
        events: of the journal, oldest first.
        live: the release that is live.
    """
    found = None
    for event in events:
        release = event.get("release")
        if event.get("event") == "generation.live" and isinstance(release, str) and release != live:
            found = release
    return found


def _begun(deploy: str, at: str) -> DeployEntry:
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


def _take(entry: DeployEntry, event: Event, *keys: str) -> None:
    for key in keys:
        if event.get(key) is not None:
            entry[key] = event[key]  # type: ignore[literal-required]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _seconds(begun_at: str, decided_at: str) -> float | None:
    try:
        span = datetime.fromisoformat(decided_at) - datetime.fromisoformat(begun_at)
    except (TypeError, ValueError):
        return None
    return round(span.total_seconds(), 3) if span.total_seconds() >= 0 else None  # the clock was set back
