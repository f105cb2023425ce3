"""The fleet at one moment, as JSON: for the status, the page, the API and ``rainbowd fleet``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.fleet.decide import wanted

if TYPE_CHECKING:
    from rainbowd.fleet.documents import Documents

Summary = dict[str, object]


def summarise(documents: Documents) -> Summary:
    """Return what the engine contains: the rollout, the lock and a row for each member."""
    return {
        "order": documents.order.id if documents.order is not None else None,
        "phase": documents.phase,
        "wanted": wanted(documents.order, documents.progress),
        "lock": documents.lock.model_dump(mode="json", exclude={"format"}) if documents.lock is not None else None,
        "rollout": _rollout(documents),
        "members": _members(documents),
    }


def _rollout(documents: Documents) -> Summary | None:
    """Return the order and how far it is; None if there is none."""
    order, progress = documents.order, documents.progress
    if order is None:
        return None
    is_begun = progress is not None and progress.order == order.id
    return {
        **order.model_dump(mode="json", include={"id", "release", "previous", "by", "note", "at", "paused", "abort"}),
        "waves": [list(wave) for wave in order.waves],
        "wave": progress.wave + 1 if is_begun and progress is not None else 1,
        "reason": progress.reason if is_begun and progress is not None else None,
    }


def _members(documents: Documents) -> list[Summary]:
    """Return a row for each member, in the order of the waves."""
    progress = documents.progress
    is_begun = documents.order is not None and progress is not None and progress.order == documents.order.id
    turns = progress.members if is_begun and progress is not None else {}
    known = {name: document.rank for name, document in documents.members.items()}
    known |= {name: known.get(name, 0) for name in (*documents.present, *turns)}
    rows: list[Summary] = []
    for name in sorted(known, key=lambda name: (known[name], name)):
        document, turn = documents.members.get(name), turns.get(name)
        rows.append(
            {
                "name": name,
                "present": name in documents.present,
                "release": document.release if document is not None else None,
                "by_hand": document.by_hand if document is not None else None,
                "since": document.since if document is not None else None,
                "state": turn.state if turn is not None else None,
                "reason": turn.reason if turn is not None else None,
            }
        )
    return rows
