"""The execution of one deploy: from the files to a live generation, or to the reason for a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.bake import Bake, remember_bake
from rainbowd.deploy.deploys.canary import Canary
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
    from rainbowd.deploy.deploys.resumed_bake import ResumedBake
    from rainbowd.deploy.generations.generation_slots import Slots
    from rainbowd.deploy.generations.generations import Generations
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.launch_plan import LaunchPlan

_SLACK_SECONDS = 5.0
"""How long after the end of a bake the previous generation is still warm, if nothing stops it at the end."""
_SUPERSEDED_SECONDS = 60.0
"""How long the previous generation stays warm for the deploy that goes back to it."""

log = get_logger()


class DeployExecution:
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
        self._bake: Bake | None = None
        self._canary: Canary | None = None
        self._context = context

    @property
    def is_baking(self) -> bool:
        """Whether the release is live, and watched."""
        return self._bake is not None

    async def run(self, resumed: ResumedBake | None = None) -> DeployFailed | None:
        """Carry out the deploy, and record a success.

        Args:
            resumed: the rest of a deploy that an earlier agent began, with its bake; None for a new deploy.

        Returns:
            Why the deploy failed, which the caller records; None if it succeeded.
        """
        live = self._generations.live
        if resumed is None:
            self.deploy.previous = live.plan if live is not None else None
        try:
            with self._scope:
                if resumed is None:
                    await self._launch_and_switch()
                elif isinstance(resumed, DeployFailed):
                    return resumed
                else:
                    await self._finish(*resumed)
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
        if self._bake is None and (plan is None or named != plan.release):
            self._cancel_reason = Superseded(named)
            self._scope.cancel()

    def another_requested(self, named: Path | None) -> None:
        """End the bake, if there is one: as a success, unless the link has gone back to the previous release.

        Args:
            named: the release that the link names; None if it names none.
        """
        if self._bake is None:
            return
        is_other = self.deploy.plan is not None and named != self.deploy.plan.release
        if named is not None and is_other and named == self._bake.previous_release:
            self._cancel_reason = Superseded(named)
            self._scope.cancel()
        else:
            self._bake.end()

    def unresponsive(self, lifecycle: Lifecycle) -> None:
        """Fail the canary or the bake of ``lifecycle``, which fails its liveness checks, if that is under way."""
        judged = self._bake or self._canary
        if judged is not None and lifecycle.id == self.deploy.generation:
            judged.fail(f"the health check fails: {lifecycle.last_check or 'no answer'}", lifecycle.last_lines())

    def interrupt(self) -> None:
        """Cancel the deploy, because the agent stops."""
        self._scope.cancel()

    async def _launch_and_switch(self) -> None:
        deploy, desired_state = self.deploy, self._host.desired_state
        if self._is_requested:
            deploy.file_state = desired_state.file_state()  # before the files are read: later changes are a new deploy
        deploy.plan = plan = deploy.relaunch_plan or desired_state.launch_plan()
        deploy.release = plan.release
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
        is_watched = self._is_requested and not deploy.is_now
        if is_watched and plan.config.canary.steps and self._generations.live is not None:
            self.progress.judged = self._canary = Canary(lifecycle, self._context, self._generations, self.progress)
            await self._canary.run()
            self._canary = None
        bake = self._switch(lifecycle, is_watched=is_watched)
        await self._finish(lifecycle, bake)

    def _switch(self, lifecycle: Lifecycle, *, is_watched: bool) -> Bake | None:
        """Make a generation live, and return its bake if it is watched and there is a generation to go back to."""
        config, previous = lifecycle.plan.config, self._generations.live
        if not is_watched or config.bake.seconds == 0 or previous is None or not previous.is_candidate:
            self._generations.switch(lifecycle, keep_previous=self._is_requested)
            return None
        before = self._generations.recent_errors.over(config.bake.seconds)
        remember_bake(self._deploy_log.memory, self.deploy, lifecycle.id, previous.id, before)
        warm_seconds = max(config.bake.seconds + _SLACK_SECONDS, config.standby)
        self._generations.switch(lifecycle, warm_seconds=warm_seconds)
        return Bake(lifecycle, previous, self._context, self._generations, before)

    async def _finish(self, lifecycle: Lifecycle, bake: Bake | None) -> None:
        """Wait for the end of the bake, if there is one, and record the success."""
        deploy = self.deploy
        if bake is not None:
            await self._run_bake(bake, lifecycle.plan.config.standby)
        self._deploy_log.record_success(
            deploy, "succeeded", lifecycle, bake_seconds=None if bake is None else bake.seconds
        )
        if self._is_requested:
            address = self._context.roster.generations[lifecycle.id].address
            self._hooks.run_later(hook_call("after_live", deploy, lifecycle.plan, address=address))

    async def _run_bake(self, bake: Bake, standby_seconds: float) -> None:
        """Run the bake, and forget it unless another agent continues it; then ``standby`` applies as usual."""
        memory = self._deploy_log.memory
        self._bake = self.progress.judged = bake
        self.progress.begin(Step.BAKE)
        try:
            await bake.run()
        except DeployFailed:
            memory.undo_switch(bake.previous_release)
            raise
        finally:
            self._bake = None
            if self._context.ownership.is_given_up:
                self.deploy.finished.set()  # the next agent continues it
            else:
                memory.change(bake=None)
                is_superseded = isinstance(self._cancel_reason, Superseded)
                left_seconds = standby_seconds - bake.seconds
                bake.release_previous(max(left_seconds, _SUPERSEDED_SECONDS if is_superseded else 0.0))

    def _begin_boot(self, candidate: Lifecycle) -> None:
        self.deploy.generation = candidate.id
        self.progress.begin(Step.BOOT)

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
