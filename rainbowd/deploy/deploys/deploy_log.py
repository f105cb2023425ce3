"""The record of deploys: stored for the next agent first, then logged and written to the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.deploy.failures import CanaryFailed, RolledBack, Superseded
from rainbowd.deploy.records import LastOutcome
from rainbowd.log import get_logger
from rainbowd.report.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.generations.deploy_memory import MemoryFile
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.watch.watcher import Trigger
    from rainbowd.errors import DeployFailed

log = get_logger()


class DeployLog:
    """The record of this agent's deploys, and what the agent before has left of its own.

    Args:
        context: see ``DeployContext``.
        memory: see the attribute.

    Attributes:
        memory: stores the outcomes for the next agent.
    """

    def __init__(self, context: DeployContext, memory: MemoryFile) -> None:
        self.memory = memory
        self._recorder = context.recorder
        self._host = context.host

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
        deploy.is_now |= trigger.is_now or trigger.is_rollback
        deploy.is_commanded |= trigger.request is not None or trigger.kind == "api"
        deploy.trigger, deploy.by, deploy.note = trigger.kind, trigger.by, trigger.note or deploy.note
        deploy.rollout = trigger.rollout or deploy.rollout
        deploy.release = release
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

    def record_success(
        self,
        deploy: Deploy,
        result: str,
        lifecycle: Lifecycle,
        *,
        is_news: bool = True,
        bake_seconds: float | None = None,
    ) -> None:
        """Record that ``deploy`` has made a generation live, or has found it live already.

        Args:
            deploy: the deploy, which is finished by this.
            result: ``succeeded`` or ``rolled_back``.
            lifecycle: of the live generation.
            is_news: False to leave the last deploy of ``status.json`` as it was.
            bake_seconds: how long the release was watched; None without a bake.
        """
        is_deployed = result == "succeeded" and deploy.relaunch_plan is None
        self._forget_crashes(except_of=None if is_deployed else lifecycle.plan.release)
        outcome = LastOutcome(deploy.id, result, None, self._host.now(), deploy.is_rollback)
        self._remember_outcome(deploy, outcome if is_news else self.memory.content.last_outcome)
        release, rollback = lifecycle.plan.release, {"rollback": True} if deploy.is_rollback else {}
        log.info(
            "deploy finished", deploy=deploy.id, result=result, **rollback, generation=lifecycle.id, release=release
        )
        self.record(
            f"deploy.{result}",
            deploy,
            trigger=deploy.trigger,
            generation=lifecycle.id,
            release=release,
            seconds=deploy.age_seconds(),
            rollback=deploy.is_rollback,
            bake_seconds=bake_seconds,
        )
        deploy.finish(Outcome(result, lifecycle.id, lifecycle.plan.release))

    def record_failure(self, deploy: Deploy, failure: DeployFailed) -> None:
        """Record that ``deploy`` has failed because of ``failure``, which finishes it."""
        if deploy.file_state_before is None:
            deploy.file_state_before = self.memory.content.sight
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
            trigger=deploy.trigger,
            generation=deploy.generation,
            release=deploy.release,
            reason=failure.reason,
            output=failure.output,
            seconds=deploy.age_seconds(),
            rollback=deploy.is_rollback,
            superseded_by=superseded_by,
            canary_share=failure.share_percent if isinstance(failure, CanaryFailed) else None,
            rolled_back_to=failure.generation if isinstance(failure, RolledBack) else None,
            bake_seconds=failure.bake_seconds if isinstance(failure, RolledBack) else None,
        )
        deploy.finish(Outcome("failed", deploy.generation, deploy.release, failure.reason, failure.output))

    def record_link_restored(self, deploy: Deploy, release: Path | None) -> None:
        """Record that the link names ``release`` again, as it did before the failed ``deploy``."""
        self.memory.change(sight=self._host.desired_state.file_state())
        log.info("link restored", deploy=deploy.id, release=release)
        self._recorder.record("link.restored", deploy=deploy.id, release=release)

    def record(self, event: str, deploy: Deploy, **fields: object) -> None:
        """Write an event of ``deploy`` to the journal.

        Args:
            event: the event's name.
            deploy: the deploy that the event is about.
            fields: the event's other fields.
        """
        self._recorder.record(event, deploy=deploy.id, **fields)

    def _forget_crashes(self, *, except_of: Path | None) -> None:
        crashes = self.memory.content.crashes
        if crashes is not None and crashes.release != except_of:
            self.memory.change(crashes=None)

    def _remember_outcome(self, deploy: Deploy, outcome: LastOutcome | None) -> None:
        files = {} if deploy.file_state is None else {"sight": deploy.file_state}
        self.memory.change(last_outcome=outcome, **files)
