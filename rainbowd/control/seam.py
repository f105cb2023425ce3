"""What the API asks the agent for: the only things of it that are known here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import trio


class Outcome(Protocol):
    """How a deploy was decided."""

    @property
    def result(self) -> str:
        """``succeeded``, ``rolled_back`` or ``failed``."""

    @property
    def generation(self) -> int | None:
        """The number of what is live by it, or of the candidate that failed."""

    @property
    def release(self) -> Path | None:
        """What is live by it, or what was to be."""

    @property
    def reason(self) -> str | None:
        """Why it failed."""

    @property
    def output(self) -> Sequence[str]:
        """The app's last lines, oldest first."""


class Deploy(Protocol):
    """A deploy that was asked for."""

    @property
    def id(self) -> str:
        """By which the journal is read."""

    @property
    def decided(self) -> trio.Event:
        """Set when there is an outcome."""

    @property
    def outcome(self) -> Outcome | None:
        """None before."""


@dataclass(frozen=True)
class Controls:
    """What the agent does for its API.

    Attributes:
        state_dir: with the journal.
        status: as ``status.json`` has it, at this moment.
        redeploy: asks for a deploy of what the files name (None), or turns the link to another release for it; with the
            deployer's note. Raises Declined where that cannot be, and nothing was done.
        rollback: the same for what was live before.
        journal_written: an event that is set when there is more in the journal than when it was asked for.
    """

    state_dir: Path
    status: Callable[[], Mapping[str, object]]
    redeploy: Callable[[str | None, str | None], Awaitable[Deploy]]
    rollback: Callable[[str | None], Awaitable[Deploy]]
    journal_written: Callable[[], trio.Event]
