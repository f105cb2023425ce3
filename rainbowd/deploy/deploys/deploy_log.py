"""The record of deploys: stored for the next agent first, then logged and written to the journal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rainbowd.deploy.generations.crash_count import count_crash
from rainbowd.deploy.interfaces import Superseded
from rainbowd.deploy.records import DeployMemory, LastOutcome
from rainbowd.log import get_logger
from rainbowd.report.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.interfaces import Host
    from rainbowd.deploy.watch.watcher import Trigger
    from rainbowd.errors import DeployFailed
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

log = get_logger()


class DeployLog:
    """The record of this agent's deploys, and what the agent before has left of its own.

    Args:
        roster: its observers are called after each outcome.
        recorder: writes the journal.
        host: stores the memory.

    Attributes:
        memory: what the next agent will read.
    """

    def __init__(self, roster: Roster, recorder: Recorder, host: Host) -> None:
        self.memory = DeployMemory()
        self._roster = roster
        self._recorder = recorder
        self._host = host

    def recall(self) -> DeployMemory:
        """Read and return the memory of the last agent."""
        self.memory = self._host.recall()
        return self.memory

    def remember(self, **changes: Any) -> None:
        """Change fields of the memory, and store it for the next agent.

        Args:
            changes: the new values, by the field's name.
        """
        self.memory = replace(self.memory, **changes)
        self._host.remember(self.memory)

    def record_request(
        self, deploy: Deploy, release: Path | None, trigger: Trigger, *, is_rollback: bool = False
    ) -> None:
        """Record that ``trigger`` requests ``deploy``, which may have been requested before.

        Args:
            deploy: takes over the trigger's kind, user and note.
            release: the release that the files name; None if they name none.
            trigger: what requests the deploy.
            is_rollback: whether the request is a rollback.
        """
        deploy.is_rollback = is_rollback
        deploy.is_commanded |= trigger.request is not None or trigger.kind == "api"
        deploy.trigger, deploy.by, deploy.note = trigger.kind, trigger.by, trigger.note or deploy.note
        deploy.rollout = trigger.rollout or deploy.rollout
        deploy.requested_release = release
        if deploy.requested_at_seconds is None:
            deploy.requested_at_seconds = self._host.now()
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

    def record_success(self, deploy: Deploy, result: str, lifecycle: Lifecycle, *, is_news: bool = True) -> None:
        """Record that ``deploy`` has made a generation live, or has found it live already.

        Args:
            deploy: the deploy, which is finished by this.
            result: ``succeeded`` or ``rolled_back``.
            lifecycle: of the live generation.
            is_news: False to leave the last deploy of ``status.json`` as it was.
        """
        crashes = self.memory.crashes
        is_deployed = result == "succeeded" and deploy.relaunch_plan is None
        if crashes is not None and (is_deployed or crashes.release != lifecycle.plan.release):
            self.remember(crashes=None)
        outcome = LastOutcome(deploy.id, result, None, self._host.now(), deploy.is_rollback)
        self._remember_outcome(deploy, outcome if is_news else self.memory.last_outcome)
        log.info(
            "deploy finished",
            deploy=deploy.id,
            result=result,
            **({"rollback": True} if deploy.is_rollback else {}),
            generation=lifecycle.id,
            release=lifecycle.plan.release,
        )
        self.record(
            f"deploy.{result}",
            deploy,
            generation=lifecycle.id,
            release=lifecycle.plan.release,
            seconds=deploy.age_seconds(),
            rollback=deploy.is_rollback,
        )
        self._roster.notify_observers()
        deploy.finish(Outcome(result, lifecycle.id, lifecycle.plan.release))

    def record_failure(self, deploy: Deploy, failure: DeployFailed) -> None:
        """Record that ``deploy`` has failed because of ``failure``, which finishes it."""
        deploy.file_state_before = self.memory.sight
        outcome = LastOutcome(deploy.id, "failed", failure.reason, self._host.now(), deploy.is_rollback)
        self._remember_outcome(deploy, outcome)
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
            seconds=deploy.age_seconds(),
            rollback=deploy.is_rollback,
            superseded_by=superseded_by,
        )
        self._roster.notify_observers()
        deploy.finish(Outcome("failed", deploy.generation, deploy.release, failure.reason, failure.output))

    def record_link_restored(self, deploy: Deploy, release: Path | None) -> None:
        """Record that the link names ``release`` again, as it did before the failed ``deploy``."""
        self.remember(sight=self._host.look())
        log.info("link restored", deploy=deploy.id, release=release)
        self._recorder.record("link.restored", deploy=deploy.id, release=release)
        self._roster.notify_observers()

    def record_switch(self, release: Path) -> None:
        """Remember that ``release`` is live, and the release before it as the target of a rollback."""
        before = self.memory.live_release
        previous = before if before != release else self.memory.previous_release
        self.remember(live_release=release, previous_release=previous)

    def record_crash(self, lifecycle: Lifecycle) -> None:
        """Count a crash of the live generation.

        Args:
            lifecycle: of the generation that crashed.
        """
        reason = lifecycle.crash or "died"
        crashes = count_crash(self.memory.crashes, lifecycle.plan.release, lifecycle.id, self._host.now(), reason)
        self.remember(crashes=crashes)

    def last_good_release(self) -> Path | None:
        """Return the release that was live last and still exists; None if there is none."""
        past = self.memory.live_release, self.memory.previous_release
        return next((release for release in past if release is not None and self._host.is_there(release)), None)

    def record(self, event: str, deploy: Deploy, **fields: object) -> None:
        """Write an event of ``deploy`` to the journal.

        Args:
            event: the event's name.
            deploy: the deploy that the event is about.
            fields: the event's other fields.
        """
        self._recorder.record(event, deploy=deploy.id, **fields)

    def _remember_outcome(self, deploy: Deploy, outcome: LastOutcome | None) -> None:
        files = {} if deploy.file_state is None else {"sight": deploy.file_state}
        self.remember(last_outcome=outcome, **files)
