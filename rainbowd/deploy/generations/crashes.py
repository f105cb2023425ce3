"""How often the live app has crashed since the last deploy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Crashes:
    """The crashes of one release.

    Attributes:
        release: which.
        generation: the one that crashed last.
        count: how many times its app died or refused connections while it was live.
        first_at, at: of the first and of the last crash, in seconds since the epoch.
        reason: of the last crash; or why it could not be launched again after that.
    """

    release: Path
    generation: int
    count: int
    first_at: float
    at: float
    reason: str


def counted(before: Crashes | None, release: Path, generation: int, at: float, reason: str) -> Crashes:
    """Return ``before`` with one more crash, which begins a new count if it is of another release.

    Args:
        before: the crashes until now; None for none.
        release: of the app that crashed.
        generation: its number.
        at: when, in seconds since the epoch.
        reason: why, in words.
    """
    if before is None or before.release != release:
        return Crashes(release, generation, 1, at, at, reason)
    return replace(before, generation=generation, count=before.count + 1, at=at, reason=reason)
