"""One deploy at a time: what the files say is launched, checked, switched to; the one before is retired.

The supervisor decides; a ``Life`` carries a generation through; ``World`` does what touches the machine.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.backoff import BackOff
from rainbowd.deploy.hooks import Hooks, after_failure, hook_call
from rainbowd.deploy.life import End, Life
from rainbowd.deploy.seam import INTERRUPTED, PortTaken
from rainbowd.deploy.watch import Trigger
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.deploy.seam import Plan, World
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

PORT_TRIES = 5
_MISSING_SECONDS = 0.5

log = get_logger()


@dataclass(eq=False)
class Deploy:
    """One deploy, asked for by one trigger or several.

    Attributes:
        id: by which the journal is read.
        generation: the number of its candidate; None before there is one.
        turns_only: it was asked for only by turning the link, so that a release which is live already needs no launch.
        trigger, note: of the last trigger that was merged into it, and the last note.
        plan: what is launched; None until it is known.
        previous: what was live when it began.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(6))
    turns_only: bool = True
    trigger: str = "start"
    note: str | None = None
    generation: int | None = None
    plan: Plan | None = None
    previous: Plan | None = None


@dataclass(frozen=True)
class Decision:
    """How the last deploy was decided."""

    deploy: str
    result: str
    reason: str | None
    at_seconds: float


class Supervisor:
    """Turns triggers into deploys, and keeps one generation live.

    Args:
        on_switch: told the config of each generation that becomes live.

    Attributes:
        last_decision: for ``status.json``; None before the first.
        named: the release that the files named when last looked at.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        world: World,
        config: Config,
        on_switch: Callable[[Config], None],
    ) -> None:
        self.last_decision: Decision | None = None
        self.named: Path | None = world.named()
        self._roster = roster
        self._recorder = recorder
        self._world = world
        self._config = config
        self._on_switch = on_switch
        self._hurry = trio.Event()
        self._hooks = Hooks(world, recorder, self._hurry)
        self._pending: Deploy | None = None
        self._asked = trio.Event()
        self._current: Deploy | None = None
        self._current_release: Path | None = None
        self._superseded_by: str | None = None
        self._deciding = trio.CancelScope()
        self._live: Life | None = None
        self._back_off = BackOff()
        self._relaunch_due = False
        self._recovery: trio.CancelScope | None = None
        self._stopping = False
        self._slot_freed = trio.Event()
        roster.observe(self._on_roster_change)

    # --- what is asked --------------------------------------------------------------------------------------------

    def request(self, trigger: Trigger) -> None:
        """Ask for a deploy; while one is under way, all that is asked becomes one more."""
        if self._stopping:
            return
        named, before = self._world.named(), self.named
        self.named = named
        deploy = self._pending = self._pending or Deploy()
        turned = named != before and (trigger.kind == "symlink" or trigger.request is not None)
        deploy.turns_only &= turned
        deploy.trigger, deploy.note = trigger.kind, trigger.note or deploy.note
        self._record(
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

    def stop(self) -> None:
        """Decide nothing more: what is undecided is interrupted, what is live stays so until ``run`` is cancelled."""
        self._stopping = True
        self._hooks.stop()
        self._deciding.cancel()
        self._end_recovery()
        self._set_launch_due()
        if self._pending is not None:
            deploy, self._pending = self._pending, None
            self._fail(deploy, DeployFailed(INTERRUPTED))

    def hurry(self) -> None:
        """No more patience with any process."""
        self._hurry.set()

    # --- what is done ---------------------------------------------------------------------------------------------

    async def run(self, lives: trio.Nursery) -> None:
        """Deploy as asked until cancelled; every generation's life is a task of ``lives``."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            deploy, self._pending = self._pending, None
            if deploy is not None:
                await self._deploy(deploy, lives)

    async def _deploy(self, deploy: Deploy, lives: trio.Nursery) -> None:
        """One deploy, from what the files say to its decision."""
        self._current, self._superseded_by = deploy, None
        deploy.previous = self._live.plan if self._live is not None else None
        self._set_launch_due()
        failure = DeployFailed(INTERRUPTED)
        try:
            with trio.CancelScope() as self._deciding:
                await self._attempt(deploy, lives)
                return
            if self._superseded_by is not None:
                failure = DeployFailed(f"superseded by {self._superseded_by}")
        except trio.Cancelled:
            self._fail(deploy, failure)
            raise
        except DeployFailed as error:
            failure = error
        except Exception as bug:
            log.error("bug: a deploy broke", exc_info=bug)
            failure = DeployFailed(f"internal error: {bug!r}")
        finally:
            self._current = self._current_release = None
            self._set_launch_due()
        self._fail(deploy, failure)
        self._hooks.after(after_failure(deploy, failure.reason, self.named, self._config), lives)
        if self._live is None and self._recovery is None and not self._stopping:
            self._recovery = trio.CancelScope()
            lives.start_soon(self._try_again, self._recovery)

    async def _attempt(self, deploy: Deploy, lives: trio.Nursery) -> None:
        plan = self._world.plan()
        deploy.plan, self._current_release = plan, plan.release
        if deploy.turns_only and self._live is not None and self._live.plan.release == plan.release:
            self._succeed(deploy, "rolled_back", self._live)
            return
        await self._slot(deploy, plan.config.max_generations)
        deploy.generation = self._world.next_number()
        await self._hooks.before(hook_call("before_launch", deploy, plan))
        await self._slot(deploy, plan.config.max_generations)  # a relaunch may have come between
        life = await self._prove(plan, lives, deploy)
        self._switch(life)
        self._succeed(deploy, "succeeded", life)
        assert life.generation is not None
        self._hooks.after(hook_call("after_live", deploy, plan, address=life.generation.address), lives)

    async def _slot(self, deploy: Deploy, max_generations: int) -> None:
        """Wait until one more generation may be alive."""
        if len(self._roster.generations) >= max_generations:
            self._record("deploy.waiting", deploy, reason=f"{max_generations} generations are alive")
            log.warning("a deploy waits for a slot", deploy=deploy.id, max_generations=max_generations)
        while len(self._roster.generations) >= max_generations:
            await self._slot_freed.wait()

    async def _prove(self, plan: Plan, lives: trio.Nursery, deploy: Deploy | None) -> Life:
        """Launch ``plan`` and see it healthy, on another port where a stranger took the one chosen.

        Args:
            plan: what to launch.
            lives: the nursery for its life.
            deploy: None for a relaunch.

        Raises:
            DeployFailed: it is not healthy; it is being ended.
        """
        number = deploy.generation if deploy is not None else None
        for _ in range(PORT_TRIES):
            life = self._begin_life(plan, number or self._world.next_number(), lives, relaunch=deploy is None)
            number = None
            if deploy is not None:
                deploy.generation = life.number
            try:
                await life.ready.wait()
            except trio.Cancelled:
                life.end(End.DROPPED)
                raise
            if not isinstance(life.failure, PortTaken):
                break
        if life.failure is not None:
            raise life.failure
        if not life.is_candidate:
            raise DeployFailed("the app ended before the switch")
        return life

    def _begin_life(self, plan: Plan, number: int, lives: trio.Nursery, *, relaunch: bool) -> Life:
        life = Life(
            plan,
            number,
            roster=self._roster,
            recorder=self._recorder,
            world=self._world,
            drain=lambda: self._config.drain,
            hurry=self._hurry,
            on_death=lambda life: self._on_death(life, lives),
            relaunch=relaunch,
        )
        lives.start_soon(life.run)
        return life

    def _switch(self, life: Life) -> None:
        """From this assignment on, new requests go to ``life``; the one before drains."""
        assert life.generation is not None
        previous, self._live = self._live, life
        self._config = life.plan.config
        self._on_switch(life.plan.config)
        self._roster.promote(life.generation, live_at=self._world.now(), previous=State.DRAINING)
        life.switched()
        if previous is not None:
            previous.end(End.SUPERSEDED)
        self._end_recovery()
        self._set_launch_due()

    # --- when the live one dies -----------------------------------------------------------------------------------

    def _on_death(self, life: Life, lives: trio.Nursery) -> None:
        """Launch the same again, not waiting for a deploy under way; requests are held meanwhile."""
        if life is not self._live or life.generation is None:
            return
        self._live = None
        if not self._stopping:
            self._relaunch_due = True
            self._set_launch_due()
            self._recovery = trio.CancelScope()
            lives.start_soon(self._recover, life, lives, self._recovery)
        self._roster.advance(life.generation, State.STOPPING)

    async def _recover(self, dead: Life, lives: trio.Nursery, scope: trio.CancelScope) -> None:
        """Launch what ``dead`` was launched from until something is live."""
        lived_seconds = dead.live_for_seconds
        with scope:
            while True:
                await trio.sleep(self._back_off.after(lived_seconds))
                lived_seconds = 0.0
                self._relaunch_due = True
                self._set_launch_due()
                try:
                    life = await self._prove(dead.plan, lives, None)
                except DeployFailed as failure:
                    log.error("a relaunch failed", reason=failure.reason, output=failure.output)
                    self._relaunch_due = False
                    self._set_launch_due()
                else:
                    self._switch(life)
                    return

    async def _try_again(self, scope: trio.CancelScope) -> None:
        """Nothing is live and what the files name failed: ask for it again, unless somebody else asks before."""
        with scope:
            await trio.sleep(self._back_off.after(0.0))
            while self._world.named() is None:  # noqa: ASYNC110 - no event says that a missing release has come
                await trio.sleep(_MISSING_SECONDS)
            self._recovery = None
            if self._pending is None and self._current is None:
                self.request(Trigger(kind="start"))

    def _end_recovery(self) -> None:
        """Something is live, or nothing is to be any more."""
        self._relaunch_due = False
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None

    # --- what is told ---------------------------------------------------------------------------------------------

    def _succeed(self, deploy: Deploy, result: str, life: Life) -> None:
        if result == "succeeded":
            self.last_decision = Decision(deploy.id, result, None, self._world.now())
        log.info("deploy decided", deploy=deploy.id, result=result, generation=life.number, release=life.plan.release)
        self._record(f"deploy.{result}", deploy, generation=life.number, release=life.plan.release)
        self._roster.changed()

    def _fail(self, deploy: Deploy, failure: DeployFailed) -> None:
        self.last_decision = Decision(deploy.id, "failed", failure.reason, self._world.now())
        log.error("deploy failed", deploy=deploy.id, reason=failure.reason, output=failure.output)
        self._record(
            "deploy.failed",
            deploy,
            generation=deploy.generation,
            release=self.named,
            reason=failure.reason,
            output=failure.output,
        )
        self._roster.changed()

    def _record(self, event: str, deploy: Deploy, **fields: object) -> None:
        self._recorder.record(event, deploy=deploy.id, **fields)

    def _set_launch_due(self) -> None:
        under_way = self._current is not None or self._pending is not None or self._relaunch_due
        self._roster.launch_due = under_way and not self._stopping

    def _on_roster_change(self) -> None:
        freed, self._slot_freed = self._slot_freed, trio.Event()
        freed.set()
