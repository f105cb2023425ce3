"""The operations that a member needs of its own machine; this package knows nothing else of the agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Standing:
    """What runs on this machine now.

    Attributes:
        live: the live release; None if nothing is live.
        linked: the release that the link names; None if there is no link.
        generation: the id of the live generation; None if nothing is live.
        requests, errors: of the live generation; errors are those that it failed.
        crash: why the live release crashed last, since it was deployed; None if it did not.
    """

    live: Path | None = None
    linked: Path | None = None
    generation: int | None = None
    requests: int = 0
    errors: int = 0
    crash: str | None = None


@dataclass(frozen=True)
class Task:
    """One deploy for the fleet.

    Attributes:
        release: the directory.
        request: its id, which the journal shows.
        by, note: of the order.
        is_rollback: whether it goes back.
        rollout: the id of the order.
        wave: the number of the wave, from 1.
        is_first: whether no member has launched the release yet.
    """

    release: Path
    request: str
    by: str
    note: str | None
    is_rollback: bool
    rollout: int
    wave: int
    is_first: bool


@dataclass(frozen=True)
class Result:
    """How a deploy ended.

    Attributes:
        failure: why it failed; None if it succeeded.
        output: the last lines of the app or the hook that failed.
    """

    failure: str | None = None
    output: tuple[str, ...] = field(default=())


class LocalDeploys(Protocol):
    """The deploys of this machine; a deploy that fails is a result, not an exception."""

    def standing(self) -> Standing:
        """Return what runs on this machine now."""

    async def deploy(self, task: Task) -> Result:
        """Deploy as ``rainbowd deploy`` does, and restore the link if that fails."""

    async def find_result(self, task: Task, before: Path | None) -> Result | None:
        """Return the result of a deploy that an earlier agent began, once its recovery has ended.

        Args:
            task: the deploy.
            before: the release to point the link at if it failed; None if there was none.

        Returns:
            None if the agent was killed before the deploy began.
        """

    async def fetch(self, task: Task) -> Result:
        """Run the ``fetch`` hook, which creates the directory of the release."""

    def record(self, event: str, **fields: object) -> None:
        """Write an event to the journal."""
