"""One deploy, from its first request to its outcome."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.deploys.progress import Progress
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.deploy.rollout_part import RolloutPart
    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.release_link import LinkChange
    from rainbowd.report.outcome import Outcome


@dataclass(eq=False)
class Deploy:
    """One deploy, requested by one trigger or by several that were merged.

    Attributes:
        id: the id of the deploy in the journal.
        is_link_change_only: only changes of the link requested it, so a release that is live already is not launched
            again.
        relaunch_plan: the plan of an unresponsive generation, to launch instead of what the files name; else None.
        retry_of: the id of the first deploy that failed while nothing was live, if this deploy retries it; else None.
        prepared: the release and the ``before_launch`` hook that has succeeded, in this deploy or in one it retries.
        file_state: the state of the files when the deploy read them.
        file_state_before: the state of the files at the outcome before; known once this deploy has failed.
        release: the release that is deployed; until the files have been read, the release that they named at the last
            request; None if they named none.
        is_rollback: whether the last request was a rollback.
        is_now: whether canary and bake are skipped.
        is_commanded: whether a command or an API call requested it, and waits for its outcome.
        trigger, by: the kind and the user of the last trigger.
        note: the last note that any of its triggers had.
        link_change: the change of the link that this or an earlier agent made for it; None if it made none.
        rollout: the part of a fleet's rollout that it is; None if it is none.
        generation: the id of its candidate; None before there is one.
        plan: what is launched; None until the files have been read.
        previous: the plan of the generation that was live when the deploy began; None if nothing was.
        requested_at: when it was requested first, by trio's clock, which nobody can set.
        requested_at_seconds: the same in seconds since the epoch.
        progress: the current step; None unless the deploy is under way.
        outcome: how it ended; None until then.
        finished: set once there is an outcome, or once another agent continues the deploy.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(6))
    is_link_change_only: bool = True
    relaunch_plan: LaunchPlan | None = None
    retry_of: str | None = None
    prepared: tuple[Path, object] | None = None
    file_state: FileState | None = None
    file_state_before: FileState | None = None
    is_rollback: bool = False
    is_now: bool = False
    is_commanded: bool = False
    trigger: str = "start"
    by: str | None = None
    note: str | None = None
    link_change: LinkChange | None = None
    rollout: RolloutPart | None = None
    release: Path | None = None
    generation: int | None = None
    plan: LaunchPlan | None = None
    previous: LaunchPlan | None = None
    requested_at: float = field(default_factory=trio.current_time)
    requested_at_seconds: float | None = None
    progress: Progress | None = None
    outcome: Outcome | None = None
    finished: trio.Event = field(default_factory=trio.Event)

    @property
    def is_baking(self) -> bool:
        """Whether its release is live and watched, so that another agent can continue it."""
        return self.outcome is None and self.progress is not None and self.progress.is_baking

    def age_seconds(self) -> float:
        """Return the seconds since the first request, rounded to milliseconds."""
        return round(trio.current_time() - self.requested_at, 3)

    def finish(self, outcome: Outcome) -> None:
        """Set the outcome, and wake those who wait for it."""
        self.outcome = outcome
        self.finished.set()
