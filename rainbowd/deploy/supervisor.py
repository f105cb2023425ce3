"""One deploy at a time: what the files say is launched, checked, switched to; the one before is retired.

The supervisor decides; the ``Succession`` knows what is live; a ``Life`` carries a generation through; ``World`` does
what touches the machine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.adoption import adopt, is_due
from rainbowd.deploy.backoff import BackOff
from rainbowd.deploy.hooks import Hooks, after_failure, hook_call
from rainbowd.deploy.ownership import Ownership
from rainbowd.deploy.seam import INTERRUPTED
from rainbowd.deploy.succession import Succession
from rainbowd.deploy.verdicts import Deploy, Verdicts
from rainbowd.deploy.watch import Trigger
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config, Drain
    from rainbowd.deploy.life import Life
    from rainbowd.deploy.record import Decision
    from rainbowd.deploy.seam import Plan, World
    from rainbowd.deploy.sight import Sight
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

_MISSING_SECONDS = 0.5

log = get_logger()


class Supervisor:
    """Turns triggers into deploys, and keeps one generation live.

    Args:
        on_switch: told the config of each generation that becomes live.
        ownership: of the generations; by default they are ours.
        is_handed_over: an earlier agent, or an earlier supervisor of this one, saw to the generations until now.

    Attributes:
        ownership: of the generations.
        named: the release that the files named when last looked at.
        started: set once it is known what an earlier agent left.
        seen: what the files looked like to the last decided deploy where that counts: triggers since then do too.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        world: World,
        config: Config,
        on_switch: Callable[[Config], None],
        *,
        ownership: Ownership | None = None,
        is_handed_over: bool = False,
    ) -> None:
        self.ownership = ownership or Ownership()
        self._is_handed_over = is_handed_over
        self.named: Path | None = world.named()
        self.started = trio.Event()
        self.seen: Sight | None = None
        self._verdicts = Verdicts(roster, recorder, world)
        self._roster = roster
        self._recorder = recorder
        self._world = world
        self._on_switch = on_switch
        self._succession = Succession(
            roster,
            recorder,
            world,
            config,
            self.ownership,
            on_switch=self._switched,
            on_change=self._set_launch_due,
            on_silence=self._replace_silent,
        )
        self._hooks = Hooks(world, recorder, self._succession.hurry)
        self._pending: Deploy | None = None
        self._asked = trio.Event()
        self._current: Deploy | None = None
        self._current_release: Path | None = None
        self._superseded_by: str | None = None
        self._deciding = trio.CancelScope()
        self._silence = BackOff()
        self._silent_before = -math.inf
        self._patient_until = -math.inf
        self._stopping = False
        self._slot_freed = trio.Event()
        roster.observe(self._on_roster_change)
        self._set_launch_due()  # until it is known what there is to adopt

    @property
    def last_decision(self) -> Decision | None:
        """How the last deploy was decided, by whichever agent; for ``status.json``."""
        return self._verdicts.memory.decision

    @property
    def drain(self) -> Drain:
        """How generations drain, as of now."""
        return self._succession.config.drain

    # --- what is asked --------------------------------------------------------------------------------------------

    def request(self, trigger: Trigger) -> Deploy | None:
        """Ask for a deploy; while one is under way, all that is asked becomes one more.

        Returns:
            The deploy that it will be; None at a stop, when there will be none.
        """
        if self._stopping:
            return None
        named, before = self._world.named(), self.named
        self.named = named
        deploy = self._pending = self._pending or Deploy()
        turned = named != before and (trigger.kind == "symlink" or trigger.request is not None)
        deploy.turns_only &= turned
        deploy.again = None
        deploy.trigger, deploy.note = trigger.kind, trigger.note or deploy.note
        self._verdicts.record(
            "deploy.requested",
            deploy,
            trigger=trigger.kind,
            note=trigger.note,
            by=trigger.by,
            request=trigger.request,
            release=named,
        )
        if self._current is not None and turned and named != self._current_release:
            self._superseded_by = str(named)
            self._deciding.cancel()
        self._set_launch_due()
        self._asked.set()
        return deploy

    def stop(self) -> None:
        """Decide nothing more: what is undecided is interrupted, what is live stays so until ``run`` is cancelled."""
        self._stopping = True
        self._hooks.stop()
        self._deciding.cancel()
        self._succession.stop()
        self._set_launch_due()
        if self._pending is not None:
            deploy, self._pending = self._pending, None
            self._verdicts.fail(deploy, DeployFailed(INTERRUPTED), self.named)

    def leave(self) -> None:
        """Leave all of it as it is to another agent; the caller cancels ``run`` and the lives next."""
        self._stopping = True
        self.ownership.give_up()
        self._succession.stop()
        self._roster.launch_due = True  # what another agent launches is worth waiting for, too

    @property
    def is_stopping(self) -> bool:
        """It takes no more requests."""
        return self._stopping

    @property
    def is_quiet(self) -> bool:
        """No deploy, no launch, no hook, nothing that is being ended: all that there is could go on under another."""
        is_busy = self._current is not None or self._pending is not None or self._succession.relaunch_due
        passing = {State.STARTING, State.STOPPING}
        is_moving = any(generation.state in passing for generation in self._roster.generations.values())
        return self.started.is_set() and not (is_busy or is_moving or self._hooks.are_due)

    def hurry(self) -> None:
        """No more patience with any process."""
        self._succession.hurry.set()

    def _replace_silent(self, life: Life) -> None:
        """Launch what is live anew, as it misses its checks; not while anything is under way, nor again too soon."""
        now = trio.current_time()
        is_busy = self._stopping or self._current is not None or self._pending is not None
        if is_busy or life is not self._succession.live or now < self._patient_until:
            return
        lived_seconds = min(life.live_for_seconds, now - self._silent_before)
        self._silent_before, self._patient_until = now, now + self._silence.after(lived_seconds)
        deploy = self._pending = Deploy(turns_only=False, again=life.plan, trigger="liveness")
        self._verdicts.record(
            "deploy.requested", deploy, trigger="liveness", note=None, by=None, release=life.plan.release
        )
        self._asked.set()

    # --- what is done ---------------------------------------------------------------------------------------------

    async def run(self, lives: trio.Nursery) -> None:
        """Deploy as asked until cancelled; every generation's life is a task of ``lives``."""
        await self._start(lives)
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            deploy, self._pending = self._pending, None
            if deploy is not None:
                await self._deploy(deploy, lives)

    async def _start(self, lives: trio.Nursery) -> None:
        """Adopt what there is; deploy what the files name where that is not live, unless it failed already."""
        try:
            await adopt(
                self._world,
                self._succession,
                self._recorder,
                self._verdicts.recall(),
                lives,
                own=self._own_deploys,
                is_handed_over=self._is_handed_over,
            )
        except Exception as bug:
            log.error("bug: adopting broke", exc_info=bug)
        live, memory = self._succession.live, self._verdicts.memory
        self.seen = now = self._world.look()  # before the files are read: what changes behind it counts
        due = live is None or is_due(memory, now, self.named, live.plan.release)
        if live is not None and memory.sight is not None:
            self.seen = memory.sight
            self.named = memory.sight.release or self.named  # so that a turn since then is known as one
        self.started.set()
        self._set_launch_due()
        if due:
            self.request(Trigger(kind="start"))
        else:
            self._roster.changed()

    def _own_deploys(self) -> list[str]:
        return [] if self._pending is None else [self._pending.id]

    async def _deploy(self, deploy: Deploy, lives: trio.Nursery) -> None:
        """One deploy, from what the files say to its decision."""
        self._current, self._superseded_by = deploy, None
        live = self._succession.live
        deploy.previous = live.plan if live is not None else None
        self._set_launch_due()
        failure = DeployFailed(INTERRUPTED)
        try:
            with trio.CancelScope() as self._deciding:
                await self._attempt(deploy, lives)
                return
            if self._superseded_by is not None:
                failure = DeployFailed(f"superseded by {self._superseded_by}")
        except trio.Cancelled:
            self._verdicts.fail(deploy, failure, self.named)
            raise
        except DeployFailed as error:
            failure = error
        except Exception as bug:
            log.error("bug: a deploy broke", exc_info=bug)
            failure = DeployFailed(f"internal error: {bug!r}")
        finally:
            self._current = self._current_release = None
            self._set_launch_due()
        self._verdicts.fail(deploy, failure, self.named)
        if deploy.again is None:
            self._hooks.after(after_failure(deploy, failure.reason, self.named, self._succession.config), lives)
        if self._succession.live is None and not self._succession.recovering and not self._stopping:
            self._succession.begin_recovery(lambda: self._rescue(lives), lives)

    async def _attempt(self, deploy: Deploy, lives: trio.Nursery) -> None:
        if deploy.again is not None:
            await self._launch_again(deploy, deploy.again, lives)
            return
        deploy.sight = self._world.look()  # before the files are read: what changes behind it is another deploy's
        plan = self._world.plan()
        deploy.plan, self._current_release = plan, plan.release
        if deploy.turns_only and self._roll_back(deploy, plan.release):
            return
        await self._slot(deploy, plan.config.max_generations)
        deploy.generation = self._world.next_number()
        await self._hooks.before(hook_call("before_launch", deploy, plan))
        await self._slot(deploy, plan.config.max_generations)  # a relaunch may have come between
        life = await self._succession.launch(
            plan,
            lives,
            number=deploy.generation,
            on_number=lambda number: setattr(deploy, "generation", number),
            deploy=deploy.id,
        )
        self._succession.switch(life)
        self._verdicts.succeed(deploy, "succeeded", life)
        assert life.generation is not None
        self._hooks.after(hook_call("after_live", deploy, plan, address=life.generation.address), lives)

    def _roll_back(self, deploy: Deploy, release: Path) -> bool:
        """The link was turned to what is live or kept warm: nothing is launched. Whether it was."""
        live, standby = self._succession.live, self._succession.standby_of(release)
        if live is not None and live.plan.release == release:
            self._succession.end_recovery()  # it bridged for another, which is not wanted any more
            self._verdicts.succeed(deploy, "rolled_back", live, is_news=False)
        elif standby is not None:
            self._succession.switch(standby)
            self._verdicts.succeed(deploy, "rolled_back", standby)
        else:
            return False
        return True

    async def _launch_again(self, deploy: Deploy, plan: Plan, lives: trio.Nursery) -> None:
        """As a crash would be answered: the same release, config and environment, no hooks."""
        self._current_release = plan.release
        await self._slot(deploy, plan.config.max_generations)
        life = await self._succession.launch(
            plan, lives, on_number=lambda number: setattr(deploy, "generation", number), deploy=deploy.id
        )
        self._succession.switch(life, keep_previous=False)
        self._verdicts.succeed(deploy, "succeeded", life)

    async def _rescue(self, lives: trio.Nursery) -> None:
        """Nothing is live and what the files name failed: launch what was live last, else ask for it again later."""
        release = self._verdicts.memory.live_release
        if release is not None and release != self.named:
            try:
                if await self._succession.relaunch(self._world.plan(release), lives):
                    return
            except DeployFailed as failure:  # it does not exist any more
                log.warning("what was live last cannot be launched", reason=failure.reason)
        self._succession.set_relaunch_due(due=False)
        await trio.sleep(self._succession.back_off.after(0.0))
        while self._world.named() is None:  # noqa: ASYNC110 - no event says that a missing release has come
            await trio.sleep(_MISSING_SECONDS)
        self._succession.end_recovery()
        if self._pending is None and self._current is None:
            self.request(Trigger(kind="start"))

    async def _slot(self, deploy: Deploy, max_generations: int) -> None:
        """Wait until one more generation may be alive; a standby makes room."""
        is_full = len(self._roster.generations) >= max_generations
        if is_full and not self._succession.end_standby_early():
            self._verdicts.record("deploy.waiting", deploy, reason=f"{max_generations} generations are alive")
            log.warning("a deploy waits for a slot", deploy=deploy.id, max_generations=max_generations)
        while len(self._roster.generations) >= max_generations:
            await self._slot_freed.wait()

    # --- what is told ---------------------------------------------------------------------------------------------

    def _switched(self, life: Life) -> None:
        self._verdicts.remember(live_release=life.plan.release)
        self._on_switch(life.plan.config)

    def _set_launch_due(self) -> None:
        under_way = self._current is not None or self._pending is not None or self._succession.relaunch_due
        under_way |= not self.started.is_set()
        self._roster.launch_due = under_way and not self._stopping

    def _on_roster_change(self) -> None:
        freed, self._slot_freed = self._slot_freed, trio.Event()
        freed.set()
