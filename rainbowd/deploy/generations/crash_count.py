"""The count of the live app's crashes since the last deploy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class CrashCount:
    """The crashes of one release.

    Attributes:
        release: the release.
        generation: the id of the generation that crashed last.
        count: how often the app exited or refused connections while it was live.
        first_at, at: when the first and the last crash happened, in seconds since the epoch.
        reason: why the app crashed last.
    """

    release: Path
    generation: int
    count: int
    first_at: float
    at: float
    reason: str


def count_crash(before: CrashCount | None, release: Path, generation: int, at: float, reason: str) -> CrashCount:
    """Return ``before`` with one more crash; a crash of another release begins a new count.

    Args:
        before: the crashes until now; None for none.
        release: the release that crashed.
        generation: the id of the generation that crashed.
        at: when it crashed, in seconds since the epoch.
        reason: why it crashed, in words.
    """
    if before is None or before.release != release:
        return CrashCount(release, generation, 1, at, at, reason)
    return replace(before, generation=generation, count=before.count + 1, at=at, reason=reason)
