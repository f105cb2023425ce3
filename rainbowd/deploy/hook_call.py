"""One run of a hook: its input, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.address import Address
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.deploy.rollout_part import RolloutPart

HookName = Literal["before_launch", "after_live", "after_failure", "fetch"]


@dataclass(frozen=True)
class HookCall:
    """One run of a hook, with all that its environment contains.

    Attributes:
        hook: its key in the config.
        plan: contains the command, and the release that it runs in.
        deploy: the deploy's id.
        generation: the id of the candidate; None if the deploy failed before it had one.
        address: of the candidate; None if it has none.
        release: the release to deploy; None if the files name none.
        previous_release: the release that was live before; None if nothing was.
        trigger, note: of the deploy.
        is_rollback: whether the deploy goes back to a release that was live before.
        reason: why the deploy failed; None if it has not.
        rollout: the deploy's part of a fleet's rollout; None if it has none.
    """

    hook: HookName
    plan: LaunchPlan
    deploy: str
    generation: int | None
    address: Address | None
    release: Path | None
    previous_release: Path | None
    trigger: str
    note: str | None
    is_rollback: bool = False
    reason: str | None = None
    rollout: RolloutPart | None = None


@dataclass(frozen=True)
class HookResult:
    """The result of one run of a hook.

    Attributes:
        exit_status: negative for a signal, None if unknown.
        output: its last lines, oldest first.
        failure: what went wrong, in words; None if nothing did.
    """

    exit_status: int | None
    output: list[str]
    failure: str | None
