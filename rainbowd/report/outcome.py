"""The outcome of a deploy, for those who have requested it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """The end of a deploy, for those who wait for it.

    Attributes:
        result: ``succeeded``, ``rolled_back`` or ``failed``.
        generation: the id of the generation that the deploy made live, or of its candidate; None if it had none.
        release: the release of that generation; None if it is not known.
        reason: why the deploy failed; None if it did not.
        output: the last lines of the app or the hook that failed, oldest first.
    """

    result: str
    generation: int | None
    release: Path | None
    reason: str | None = None
    output: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RequestedDeploy:
    """A deploy that was requested over the API.

    Attributes:
        id: the id of the deploy in the journal.
        outcome: waits until the deploy has ended and, if it failed, the link is restored; returns the outcome.
    """

    id: str
    outcome: Callable[[], Awaitable[Outcome]]
