"""The rollout of one deploy: from the files to a live generation, or to the reason for a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.hooks import hook_call
from rainbowd.deploy.deploys.prepared_releases import PreparedReleases
from rainbowd.deploy.deploys.progress import Progress, Step
from rainbowd.deploy.failures import INTERRUPTED, Superseded
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.deploys.deploy_log import DeployLog
    from rainbowd.deploy.deploys.hooks import HookRunner
    from rainbowd.deploy.generations.generations import Generations
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.generations.slots import Slots
    from rainbowd.deploy.interfaces import LaunchPlan

log = get_logger()


class Rollout:
    """The steps of ``deploy``, and what cuts them short.

    Args:
        deploy: the deploy to carry out.
        context: see ``DeployContext``.
        generations: launches the candidate, and switches to it.
        slots: limits how many generations are alive.
        hooks: runs the hooks.
        deploy_log: records a success.
    """

    def __init__(
        self,
        deploy: Deploy,
        context: DeployContext,
        *,
        generations: Generations,
        slots: Slots,
        hooks: HookRunner,
        deploy_log: DeployLog,
    ) -> None:
        self.deploy = deploy
        self.progress = deploy.progress = Progress(context.host.now, context.recorder.status_changed)
        self._host = context.host
        self._generations = generations
        self._slots = slots
        self._hooks = hooks
        self._deploy_log = deploy_log
        self._prepared_releases = PreparedReleases(deploy_log.memory, context.host.desired_state)
        self._scope = trio.CancelScope()
        self._cancel_reason = DeployFailed(INTERRUPTED)
        self._is_requested = deploy.relaunch_plan is None

    async def run(self) -> DeployFailed | None:
        """Carry out the deploy, and record a success.

        Returns:
            Why the deploy failed, which the caller records; None if it succeeded.
        """
        live = self._generations.live
        self.deploy.previous = live.plan if live is not None else None
        try:
            with self._scope:
                await self._roll_out()
                if self._is_requested:  # the live generation is not the one that failed before
                    self._generations.recovery.backoff.reset()
                return None
        except DeployFailed as failure:
            return failure
        except Exception as bug:
            log.error("bug: a deploy broke", exc_info=bug)
            return DeployFailed(f"internal error: {bug!r}")
        return self._cancel_reason

    def link_changed(self, named: Path | None) -> None:
        """Cancel the deploy if the link now names another release than the candidate's.

        Args:
            named: the release that the link names; None if it names none.
        """
        plan = self.deploy.plan
        if plan is None or named != plan.release:
            self._cancel_reason = Superseded(named)
            self._scope.cancel()

    def interrupt(self) -> None:
        """Cancel the deploy, because the agent stops."""
        self._scope.cancel()

    async def _roll_out(self) -> None:
        deploy, desired_state = self.deploy, self._host.desired_state
        if self._is_requested:
            deploy.file_state = desired_state.file_state()  # before the files are read: later changes are a new deploy
        deploy.plan = plan = deploy.relaunch_plan or desired_state.launch_plan()
        if deploy.is_link_change_only and self._switch_without_launch(plan.release):
            return
        await self._wait_for_slot(plan.config.max_generations)
        if self._is_requested:
            deploy.generation = self._host.launcher.next_generation_id()
            await self._run_before_launch(plan)
            await self._wait_for_slot(plan.config.max_generations)  # a relaunch may have taken the slot
        lifecycle = await self._generations.launch(
            plan, deploy_id=deploy.id, generation_id=deploy.generation, on_candidate=self._begin_boot
        )
        generation = self._generations.switch(lifecycle, keep_previous=self._is_requested)
        self._deploy_log.record_success(deploy, "succeeded", lifecycle)
        if self._is_requested:
            self._hooks.run_later(hook_call("after_live", deploy, plan, address=generation.address))

    def _begin_boot(self, candidate: Lifecycle) -> None:
        self.deploy.generation = candidate.id
        self.progress.begin_boot(candidate)

    def _switch_without_launch(self, release: Path) -> bool:
        """Keep or make live a generation of ``release`` that runs already, and return whether there was one."""
        live, standby = self._generations.live, self._generations.standby_of(release)
        if live is not None and live.plan.release == release:
            self._generations.recovery.stop()  # it stood in for another generation, which is no longer wanted
            self._deploy_log.record_success(self.deploy, "rolled_back", live, is_news=self.deploy.is_commanded)
        elif standby is not None:
            self._generations.switch(standby)
            self._deploy_log.record_success(self.deploy, "rolled_back", standby)
        else:
            return False
        return True

    async def _wait_for_slot(self, max_generations: int) -> None:
        """Wait until one more generation may be alive; a standby gives up its slot."""
        if not self._slots.is_free(max_generations) and not self._generations.drain_standby():
            self._deploy_log.record("deploy.waiting", self.deploy, reason=f"{max_generations} generations are alive")
            self.progress.begin(Step.SLOT)
            log.warning("deploy is waiting for a slot", deploy=self.deploy.id, max_generations=max_generations)
        await self._slots.until_free(max_generations)

    async def _run_before_launch(self, plan: LaunchPlan) -> None:
        """Run the hook before the launch, unless it has succeeded in a deploy that this one retries or returns to."""
        prepared = plan.release, plan.config.hooks.before_launch
        if self.deploy.prepared == prepared or plan.config.hooks.before_launch is None:
            return
        if self.deploy.is_rollback and not plan.config.hooks.on_rollback and self._prepared_releases.includes(plan):
            log.info("before_launch is not run again for a rollback", deploy=self.deploy.id, release=plan.release)
        else:
            self.progress.begin(Step.BEFORE_LAUNCH)
            await self._hooks.run(hook_call("before_launch", self.deploy, plan), self.progress.add_output)
            self._prepared_releases.add(plan)
        self.deploy.prepared = prepared
