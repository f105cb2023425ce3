"""The failures of a deploy that are handled in a way of their own, and the reasons of deploys that were cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from pathlib import Path

INTERRUPTED = "interrupted: the agent stops"
"""The reason of a deploy or a candidate that was undecided when the agent stopped."""
KILLED = "interrupted: the agent was killed"
"""The reason of a deploy that was undecided when the agent was killed; recorded by the next agent."""


class PortTaken(DeployFailed):
    """A failed launch whose port is held by another program; another port may be free.

    Args:
        reason: what was observed, in one sentence.
        holder: the other program's command, without numbers; empty if it is not known.
    """

    def __init__(self, reason: str, *, holder: str = "") -> None:
        super().__init__(reason)
        self.holder = holder


class RolledBack(DeployFailed):
    """A deploy whose release failed after it went live, so that the previous generation is live again.

    Args:
        reason: what the release did wrong.
        generation: the id of the generation that is live again.
        output: the app's last lines.
        bake_seconds: how long the release was watched; None if it is unknown.
    """

    def __init__(
        self,
        reason: str,
        generation: int,
        output: list[str] | None = None,
        *,
        bake_seconds: float | None = None,
    ) -> None:
        super().__init__(reason, output)
        self.generation = generation
        self.bake_seconds = bake_seconds


class CanaryFailed(DeployFailed):
    """A deploy whose release failed with the share of the clients that it had.

    Args:
        reason: what the release did wrong.
        share_percent: the share.
        output: the app's last lines.
    """

    def __init__(self, reason: str, share_percent: float, output: list[str] | None = None) -> None:
        super().__init__(reason, output)
        self.share_percent = share_percent


class Superseded(DeployFailed):
    """A deploy that was cancelled because the files named another release before it was decided.

    Attributes:
        release: the other release; None if the files no longer name one.
    """

    def __init__(self, release: Path | None) -> None:
        super().__init__(f"superseded by {release}")
        self.release = release
