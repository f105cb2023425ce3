"""One deploy, from what the files say to its decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.hooks import hook_call
from rainbowd.deploy.deploys.preparations import Preparations
from rainbowd.deploy.deploys.progress import Progress, Step
from rainbowd.deploy.interfaces import INTERRUPTED, Superseded
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.deploy.deploys.hooks import HookRunner
    from rainbowd.deploy.generations.generations import Generations
    from rainbowd.deploy.generations.slots import Slots
    from rainbowd.deploy.interfaces import Host, LaunchPlan
    from rainbowd.deploy.verdicts import Deploy, DeployLog

log = get_logger()


class Rollout:
    """Carries out ``deploy``; all that happens meanwhile and concerns it is said to this.

    Args:
        on_change: called at each new step of the deploy.
    """

    def __init__(
        self,
        deploy: Deploy,
        *,
        world: Host,
        succession: Generations,
        slots: Slots,
        hooks: HookRunner,
        verdicts: DeployLog,
        on_change: Callable[[], None],
    ) -> None:
        self.deploy = deploy
        self.progress = deploy.progress = Progress(world.now, on_change)
        self._world = world
        self._succession = succession
        self._slots = slots
        self._hooks = hooks
        self._verdicts = verdicts
        self._preparations = Preparations(verdicts, world)
        self._scope = trio.CancelScope()
        self._dropped = DeployFailed(INTERRUPTED)
        self._is_asked = deploy.again is None

    async def run(self, lives: trio.Nursery) -> DeployFailed | None:
        """Carry it out; a success is told by then.

        Args:
            lives: the nursery for its generation, and for the hook behind the switch.

        Returns:
            Why it failed, which is still to be told; None where it has not.
        """
        live = self._succession.live
        self.deploy.previous = live.plan if live is not None else None
        try:
            with self._scope:
                await self._carry_out(lives)
                if self._is_asked:  # what is live is not what failed before
                    self._succession.recovery.back_off.begin_anew()
                return None
        except DeployFailed as failure:
            return failure
        except Exception as bug:
            log.error("bug: a deploy broke", exc_info=bug)
            return DeployFailed(f"internal error: {bug!r}")
        return self._dropped

    def turned(self, named: Path | None) -> None:
        """The link names something else now: a candidate of another release is dropped."""
        plan = self.deploy.plan
        if plan is None or named != plan.release:
            self._dropped = Superseded(named)
            self._scope.cancel()

    def interrupt(self) -> None:
        """Go no further."""
        self._scope.cancel()

    async def _carry_out(self, lives: trio.Nursery) -> None:
        deploy = self.deploy
        if self._is_asked:
            deploy.sight = self._world.look()  # before the files are read: what changes behind it is another deploy's
        deploy.plan = plan = deploy.again or self._world.plan()
        if deploy.turns_only and self._roll_back(plan.release):
            return
        await self._slot(plan.config.max_generations)
        if self._is_asked:
            deploy.generation = self._world.next_number()
            await self._prepare(plan)
            await self._slot(plan.config.max_generations)  # a relaunch may have come between
        life = await self._succession.launch(plan, lives, deploy=deploy)
        self._succession.switch(life, keep_previous=self._is_asked)
        self._verdicts.succeed(deploy, "succeeded", life)
        if self._is_asked and life.generation is not None:
            self._hooks.after(hook_call("after_live", deploy, plan, address=life.generation.address), lives)

    def _roll_back(self, release: Path) -> bool:
        """The link was turned to what is live or kept warm: nothing is launched. Whether it was."""
        live, standby = self._succession.live, self._succession.standby_of(release)
        if live is not None and live.plan.release == release:
            self._succession.recovery.end()  # it bridged for another, which is not wanted any more
            self._verdicts.succeed(self.deploy, "rolled_back", live, is_news=self.deploy.is_commanded)
        elif standby is not None:
            self._succession.switch(standby)
            self._verdicts.succeed(self.deploy, "rolled_back", standby)
        else:
            return False
        return True

    async def _slot(self, max_generations: int) -> None:
        """Wait until one more generation may be alive; a standby makes room."""
        if not self._slots.is_free(max_generations) and not self._succession.end_standby_early():
            self._verdicts.record("deploy.waiting", self.deploy, reason=f"{max_generations} generations are alive")
            self.progress.begin(Step.SLOT)
            log.warning("a deploy waits for a slot", deploy=self.deploy.id, max_generations=max_generations)
        await self._slots.until_free(max_generations)

    async def _prepare(self, plan: LaunchPlan) -> None:
        """Run the hook before the launch, unless it went well in the deploy that this tries again or goes back to."""
        prepared = plan.release, plan.config.hooks.before_launch
        if self.deploy.prepared == prepared or plan.config.hooks.before_launch is None:
            return
        if self.deploy.is_rollback and not plan.config.hooks.on_rollback and self._preparations.cover(plan):
            log.info("before_launch is not run again for a rollback", deploy=self.deploy.id, release=plan.release)
        else:
            self.progress.begin(Step.BEFORE_LAUNCH)
            await self._hooks.before(hook_call("before_launch", self.deploy, plan), self.progress.tell)
            self._preparations.add(plan)
        self.deploy.prepared = prepared
