"""Deploys, and how they were decided: remembered for the next agent first, then told."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import trio

from rainbowd.deploy.generations.crashes import counted
from rainbowd.deploy.interfaces import Superseded
from rainbowd.deploy.records import Decision, DeployMemory
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.deploys.progress import Progress
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.interfaces import Host, LaunchPlan
    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.deploy.watch.watcher import Trigger
    from rainbowd.errors import DeployFailed
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

log = get_logger()


@dataclass(frozen=True)
class Outcome:
    """How a deploy was decided, for whoever waits for it.

    Attributes:
        result: ``succeeded``, ``rolled_back`` or ``failed``.
        generation, release: what is live by it, or what was to be; None where that is not known.
        reason, output: of a failure; the app's last lines, oldest first.
    """

    result: str
    generation: int | None
    release: Path | None
    reason: str | None = None
    output: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Deploy:
    """One deploy, asked for by one trigger or several.

    Attributes:
        id: by which the journal is read.
        generation: the number of its candidate; None before there is one.
        turns_only: it was asked for only by turning the link, so that a release which is live already needs no launch.
        again: launched anew because it is silent, whatever the files say; None for what they name.
        retry_of: the first of those deploys that failed with nothing live, which this one tries again by itself.
        prepared: the release and the hook that was run before its launch, in this deploy or in one that it tries again.
        sight: what the files looked like to it.
        sight_before: what they looked like to the deploy decided before it, once this one has failed.
        asked_release: the release that the files named when it was last asked for; None for none.
        is_rollback: it was last asked to go back, not to deploy something new.
        is_commanded: a command or a call asked for it, and so reports how it ends.
        trigger, by, note: of the last trigger that was merged into it, and the last note.
        plan: what is launched; None until it is known.
        previous: what was live when it began.
        asked_at: when, by trio's clock, which nobody sets.
        asked_at_seconds: the same in seconds since the epoch.
        progress: what it is doing now; None unless it is under way.
        outcome: how it was decided; None before.
        decided: set then.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(6))
    turns_only: bool = True
    again: LaunchPlan | None = None
    retry_of: str | None = None
    prepared: tuple[Path, object] | None = None
    sight: FileState | None = None
    sight_before: FileState | None = None
    is_rollback: bool = False
    is_commanded: bool = False
    trigger: str = "start"
    by: str | None = None
    note: str | None = None
    asked_release: Path | None = None
    generation: int | None = None
    plan: LaunchPlan | None = None
    previous: LaunchPlan | None = None
    asked_at: float = field(default_factory=trio.current_time)
    asked_at_seconds: float | None = None
    progress: Progress | None = None
    outcome: Outcome | None = None
    decided: trio.Event = field(default_factory=trio.Event)

    @property
    def release(self) -> Path | None:
        """The release that it deploys, or as long as that is not known the one that was asked for."""
        return self.plan.release if self.plan is not None else self.asked_release

    def seconds(self) -> float:
        """How long ago it was asked for."""
        return round(trio.current_time() - self.asked_at, 3)


class DeployLog:
    """What was decided.

    Attributes:
        memory: what outlives this agent, and is left of the one before.
    """

    def __init__(self, roster: Roster, recorder: Recorder, world: Host) -> None:
        self.memory = DeployMemory()
        self._roster = roster
        self._recorder = recorder
        self._world = world

    def recall(self) -> DeployMemory:
        """Remember what the last agent did."""
        self.memory = self._world.recall()
        return self.memory

    def remember(self, **changes: Any) -> None:
        """Change what is remembered."""
        self.memory = replace(self.memory, **changes)
        self._world.remember(self.memory)

    def ask(self, deploy: Deploy, release: Path | None, trigger: Trigger, *, is_rollback: bool = False) -> None:
        """``deploy``, of ``release``, is asked for, perhaps once more."""
        deploy.is_rollback = is_rollback
        deploy.is_commanded |= trigger.request is not None or trigger.kind == "api"
        deploy.trigger, deploy.by, deploy.note = trigger.kind, trigger.by, trigger.note or deploy.note
        deploy.asked_release = release
        if deploy.asked_at_seconds is None:
            deploy.asked_at_seconds = self._world.now()
        self.record(
            "deploy.requested",
            deploy,
            trigger=trigger.kind,
            note=trigger.note,
            by=trigger.by,
            request=trigger.request,
            release=release,
            retry_of=deploy.retry_of,
            rollback=is_rollback,
        )

    def succeed(self, deploy: Deploy, result: str, life: Lifecycle, *, is_news: bool = True) -> None:
        """``deploy`` has made ``life`` live, or found it so, which is no news."""
        crashes = self.memory.crashes
        is_deployed = result == "succeeded" and deploy.again is None
        if crashes is not None and (is_deployed or crashes.release != life.plan.release):
            self.remember(crashes=None)
        decision = Decision(deploy.id, result, None, self._world.now())
        self._decide(deploy, decision if is_news else self.memory.decision)
        log.info("deploy decided", deploy=deploy.id, result=result, generation=life.number, release=life.plan.release)
        self.record(
            f"deploy.{result}",
            deploy,
            generation=life.number,
            release=life.plan.release,
            seconds=deploy.seconds(),
            rollback=deploy.is_rollback,
        )
        self._roster.notify_observers()
        _tell(deploy, Outcome(result, life.number, life.plan.release))

    def fail(self, deploy: Deploy, failure: DeployFailed) -> None:
        """``deploy`` has failed."""
        deploy.sight_before = self.memory.sight
        self._decide(deploy, Decision(deploy.id, "failed", failure.reason, self._world.now()))
        superseded_by = failure.release if isinstance(failure, Superseded) else None
        if isinstance(failure, Superseded):
            log.info("deploy superseded", deploy=deploy.id, release=deploy.release, by=superseded_by)
        else:
            log.error("deploy failed", deploy=deploy.id, reason=failure.reason, output=failure.output)
        self.record(
            "deploy.failed",
            deploy,
            generation=deploy.generation,
            release=deploy.release,
            reason=failure.reason,
            output=failure.output,
            seconds=deploy.seconds(),
            rollback=deploy.is_rollback,
            superseded_by=superseded_by,
        )
        self._roster.notify_observers()
        _tell(deploy, Outcome("failed", deploy.generation, deploy.release, failure.reason, failure.output))

    def restored(self, deploy: Deploy, release: Path | None) -> None:
        """The link, which was pointed elsewhere for ``deploy``, is as it was before, as that has failed."""
        self.remember(sight=self._world.look())
        log.info("the link is restored", deploy=deploy.id, release=release)
        self._recorder.record("link.restored", deploy=deploy.id, release=release)
        self._roster.notify_observers()

    def switched(self, release: Path) -> None:
        """``release`` is live; another one that was live until now is the one to go back to."""
        before = self.memory.live_release
        previous = before if before != release else self.memory.previous_release
        self.remember(live_release=release, previous_release=previous)

    def crashed(self, life: Lifecycle, reason: str) -> None:
        """``life``, which was live, has died."""
        crashes = counted(self.memory.crashes, life.plan.release, life.number, self._world.now(), reason)
        self.remember(crashes=crashes)

    def last_good(self) -> Path | None:
        """Return the release that was live last and is still there; None if there is none."""
        past = self.memory.live_release, self.memory.previous_release
        return next((release for release in past if release is not None and self._world.is_there(release)), None)

    def record(self, event: str, deploy: Deploy, **fields: object) -> None:
        """Tell the journal."""
        self._recorder.record(event, deploy=deploy.id, **fields)

    def _decide(self, deploy: Deploy, decision: Decision | None) -> None:
        self.remember(decision=decision, **({} if deploy.sight is None else {"sight": deploy.sight}))


def _tell(deploy: Deploy, outcome: Outcome) -> None:
    deploy.outcome = outcome
    deploy.decided.set()
