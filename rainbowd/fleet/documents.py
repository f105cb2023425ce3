"""The documents of one snapshot, parsed, with the revisions that guard a write."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from rainbowd.fleet.models import (
    NAME,
    NAME_MAX,
    Document,
    Lock,
    Member,
    Order,
    Past,
    Phase,
    Presence,
    Progress,
    UnreadableDocument,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.fleet.engine import Snapshot

ORDER, PROGRESS, LOCK = "order", "progress", "lock"
PRESENT, MEMBERS, HISTORY = "present/", "members/", "history/"

HISTORY_MAX = 50

_matches_name = re.compile(NAME.removesuffix("$")).fullmatch

AnyDocument = TypeVar("AnyDocument", bound=Document)


@dataclass(frozen=True)
class Documents:
    """What the engine contains for one fleet.

    Attributes:
        snapshot: the keys that the documents were parsed from.
        order, progress, lock: None if there is none.
        present, members: by the member's name. Keys that are not names of members, and a member's own document that
            cannot be read, are left out.
    """

    snapshot: Snapshot
    order: Order | None = None
    progress: Progress | None = None
    lock: Lock | None = None
    present: Mapping[str, Presence] = field(default_factory=dict)
    members: Mapping[str, Member] = field(default_factory=dict)

    @property
    def guards(self) -> dict[str, int]:
        """The revisions of the documents that every decision depends on."""
        return {key: self.snapshot.revision_of(key) for key in (ORDER, PROGRESS)}

    @property
    def phase(self) -> Phase | None:
        """The phase of the order; None if there is no order, or if it has not begun."""
        is_begun = self.order is not None and self.progress is not None and self.progress.order == self.order.id
        return self.progress.phase if is_begun and self.progress is not None else None

    @property
    def is_under_way(self) -> bool:
        """Whether an order has no outcome yet."""
        return self.order is not None and (self.phase is None or not self.phase.is_at_rest)


def parse(snapshot: Snapshot) -> Documents:
    """Return the documents of a snapshot.

    Args:
        snapshot: the keys of one fleet.

    Raises:
        UnreadableDocument: the order, the progress or the lock cannot be understood.
    """
    order, progress = _parse(snapshot, ORDER, Order), _parse(snapshot, PROGRESS, Progress)
    if order is not None and progress is not None and not progress.is_within(order):
        raise UnreadableDocument(
            f"{PROGRESS}: wave: found {progress.wave}; expected less than {len(order.waves)}, the waves of the order"
        )
    return Documents(
        snapshot,
        order,
        progress,
        _parse(snapshot, LOCK, Lock),
        _parse_all(snapshot, PRESENT, Presence),
        _parse_all(snapshot, MEMBERS, Member),
    )


def parse_history(snapshot: Snapshot) -> list[Past]:
    """Return the rollouts that are over, newest first; those that cannot be read are left out."""
    found = (past for past in _parse_all(snapshot, HISTORY, Past).values() if past.progress.is_within(past.order))
    return sorted(found, key=lambda past: past.order.id, reverse=True)


def progress_puts(documents: Documents, order: Order, progress: Progress) -> dict[str, str | None]:
    """Return what one transaction writes for a new ``progress``; if the rollout ends, also its history.

    Args:
        documents: the documents on which the decision is based.
        order: the present order.
        progress: the new document.
    """
    puts: dict[str, str | None] = {PROGRESS: progress.encode()}
    if progress.phase.is_at_rest and documents.is_under_way:
        puts[f"{HISTORY}{order.id:08d}"] = Past(order=order, progress=progress).encode()
        old = documents.snapshot.names(HISTORY)[: -(HISTORY_MAX - 1)]
        puts |= {f"{HISTORY}{name}": None for name in old[:HISTORY_MAX]}
    return puts


def _parse(snapshot: Snapshot, key: str, kind: type[AnyDocument]) -> AnyDocument | None:
    entry = snapshot.entries.get(key)
    return None if entry is None else kind.parse(key, entry.value)


def _parse_all(snapshot: Snapshot, directory: str, kind: type[AnyDocument]) -> dict[str, AnyDocument]:
    found = {}
    for name in snapshot.names(directory):
        if _matches_name(name) is None or len(name) > NAME_MAX:
            continue
        try:
            found[name] = kind.parse(directory + name, snapshot.entries[directory + name].value)
        except UnreadableDocument:
            continue
    return found
