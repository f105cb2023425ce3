"""One deploy at a time: what the files say is launched, checked, switched to; the one before is retired.

The supervisor takes requests and decides what is next; an ``Rollout`` is one deploy, the ``Generations`` knows what is
live, a ``Lifecycle`` carries a generation through, ``Host`` does what touches the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.first_launch import first
from rainbowd.deploy.deploys.hooks import HookRunner, after_failure
from rainbowd.deploy.deploys.link_intent import is_restored, is_rollback
from rainbowd.deploy.deploys.rollout import Rollout
from rainbowd.deploy.generations.adoption import adopt, should_deploy
from rainbowd.deploy.generations.generations import Generations
from rainbowd.deploy.generations.liveness import ReplacementBackoff
from rainbowd.deploy.generations.outage import Outage
from rainbowd.deploy.generations.ownership import Ownership
from rainbowd.deploy.generations.slots import Slots
from rainbowd.deploy.interfaces import INTERRUPTED
from rainbowd.deploy.verdicts import Deploy, DeployLog
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config, Drain
    from rainbowd.deploy.generations.crashes import Crashes
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.interfaces import Host
    from rainbowd.deploy.records import Decision
    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

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
        now: returns seconds since the epoch.
        link: the path of the release link, or of the plain directory.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        world: Host,
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
        self.seen: FileState | None = None
        self.link = config.release
        self.now = world.now
        self._verdicts = DeployLog(roster, recorder, world)
        self._roster = roster
        self._recorder = recorder
        self._world = world
        self._on_switch = on_switch
        self._succession = Generations(
            roster,
            recorder,
            world,
            config,
            self.ownership,
            on_switch=self._switched,
            on_change=self._set_launch_due,
            on_silence=self._replace_silent,
            on_crash=lambda life: self._verdicts.crashed(life, life.crash or "died"),
            last_good=self._verdicts.last_good,
        )
        self._hooks = HookRunner(world, recorder, self._succession.hurry)
        self._outage = Outage(world, self._succession.recovery, self._verdicts, retry=self._retry, request=self.request)
        self._slots = Slots(roster)
        self._patience = ReplacementBackoff()
        self._pending: Deploy | None = None
        self._asked = trio.Event()
        self._current: Rollout | None = None
        self._failed: Deploy | None = None
        self._stopping = False
        self._set_launch_due()  # until it is known what there is to adopt

    @property
    def last_decision(self) -> Decision | None:
        """How the last deploy was decided, by whichever agent; for ``status.json``."""
        return self._verdicts.memory.decision

    @property
    def crashes(self) -> Crashes | None:
        """How often the live app has crashed since the last deploy; None for never."""
        return self._verdicts.memory.crashes

    @property
    def previous_release(self) -> Path | None:
        """The release that was live before the live one."""
        return self._verdicts.memory.previous_release

    @property
    def is_waiting(self) -> bool:
        """There was never a release yet, and the first one is waited for."""
        return self._outage.is_waiting

    @property
    def deploying(self) -> Deploy | None:
        """The deploy that is under way; its ``progress`` is set."""
        return None if self._current is None else self._current.deploy

    @property
    def drain(self) -> Drain:
        """How generations drain, as of now."""
        return self._succession.config.drain

    # --- what is asked --------------------------------------------------------------------------------------------

    def request(self, trigger: Trigger) -> Deploy | None:
        """Ask for a deploy; while one is under way, all that is asked becomes one more.

        Returns:
            The deploy that it will be; None at a stop, or if a failed deploy's link is restored: there will be none.
        """
        if self._stopping:
            return None
        named, before = self._world.named(), self.named
        self.named = named
        turned = named != before and (trigger.kind == "symlink" or trigger.request is not None)
        if turned and trigger.request is None and self._restores():
            return None
        deploy = self._pending or Deploy()
        deploy.turns_only &= turned
        deploy.again = deploy.retry_of = deploy.prepared = None
        memory, live = self._verdicts.memory, self._succession.live
        past = None if live is None else live.plan.release, memory.previous_release
        self._ask(deploy, named, trigger, is_rollback=is_rollback(trigger, named, is_turned=turned, past=past))
        if self._current is not None and turned:
            self._current.turned(named)
        return deploy

    def _restores(self) -> bool:
        """Whether the link is as it was before the deploy that has failed, of which that is the end."""
        failed = self._failed
        is_idle = self._succession.live is not None and self._current is None and self._pending is None
        if failed is None or not is_idle or not is_restored(failed.sight_before, self._world.look()):
            return False
        self._verdicts.restored(failed, self.named)
        self._failed = None
        return True

    def _ask(self, deploy: Deploy, release: Path | None, trigger: Trigger, *, is_rollback: bool = False) -> None:
        """``deploy``, of ``release``, is the next."""
        self._verdicts.ask(deploy, release, trigger, is_rollback=is_rollback)
        self._pending = deploy
        self._failed = None
        self._outage.is_waiting = False
        self._set_launch_due()
        self._asked.set()

    def stop(self) -> None:
        """Decide nothing more: what is undecided is interrupted, what is live stays so until ``run`` is cancelled."""
        self._stopping = True
        self._hooks.stop()
        if self._current is not None:
            self._current.interrupt()
        self._succession.stop()
        self._set_launch_due()
        if self._pending is not None:
            deploy, self._pending = self._pending, None
            self._verdicts.fail(deploy, DeployFailed(INTERRUPTED))

    def leave(self) -> None:
        """Leave all of it as it is to another agent; the caller cancels ``run`` and the lives next."""
        self._stopping = True
        self.ownership.give_up()
        self._succession.stop()
        self._roster.is_launch_due = True  # what another agent launches is worth waiting for, too

    @property
    def is_stopping(self) -> bool:
        """It takes no more requests."""
        return self._stopping

    @property
    def is_quiet(self) -> bool:
        """No deploy, no launch, no hook, nothing that is being ended: all that there is could go on under another."""
        is_busy = self._current is not None or self._pending is not None or self._succession.recovery.is_due
        passing = {State.STARTING, State.STOPPING}
        is_moving = any(generation.state in passing for generation in self._roster.generations.values())
        return self.started.is_set() and not (is_busy or is_moving or self._hooks.are_due)

    def hurry(self) -> None:
        """No more patience with any process."""
        self._succession.hurry.set()

    def _replace_silent(self, life: Lifecycle) -> None:
        """Launch what is live anew, as it misses its checks; not while anything is under way, nor again too soon."""
        is_busy = self._stopping or self._current is not None or self._pending is not None
        if not is_busy and life is self._succession.live and self._patience.is_over(life.live_for_seconds):
            deploy = Deploy(turns_only=False, again=life.plan)
            self._ask(deploy, life.plan.release, Trigger(kind="liveness"))

    # --- what is done ---------------------------------------------------------------------------------------------

    async def run(self, lives: trio.Nursery) -> None:
        """Deploy as asked until cancelled; every generation's life is a task of ``lives``."""
        await self._start(lives)
        await self.ownership.until_complete()
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
        if live is not None and memory.sight is not None:
            self.seen = memory.sight
            self.named = memory.sight.release or self.named  # so that a turn since then is known as one
        self.started.set()
        self._set_launch_due()
        if live is None:
            self._outage.begin(first(memory, now, self._verdicts.last_good()), self.link, lives)
            self._roster.notify_observers()
        elif should_deploy(memory, now, self.named, live.plan.release):
            self.request(Trigger(kind="start"))
        else:
            self._roster.notify_observers()

    def _own_deploys(self) -> list[str]:
        return [] if self._pending is None else [self._pending.id]

    async def _deploy(self, deploy: Deploy, lives: trio.Nursery) -> None:
        """One deploy; where it fails and nothing is live, what was live before is launched, or it is tried again."""
        attempt = self._current = Rollout(
            deploy,
            world=self._world,
            succession=self._succession,
            slots=self._slots,
            hooks=self._hooks,
            verdicts=self._verdicts,
            on_change=self._roster.notify_observers,
        )
        self._set_launch_due()
        self._roster.notify_observers()
        try:
            failure = await attempt.run(lives)
        except trio.Cancelled:
            self._verdicts.fail(deploy, DeployFailed(INTERRUPTED))
            raise
        finally:
            self._current = None
            self._set_launch_due()
        if failure is not None:
            self._fail(deploy, failure, lives)

    def _fail(self, deploy: Deploy, failure: DeployFailed, lives: trio.Nursery) -> None:
        self._verdicts.fail(deploy, failure)
        self._failed = deploy
        if deploy.again is None and deploy.retry_of is None:
            self._hooks.after(after_failure(deploy, failure.reason, self.named, self._succession.config), lives)
        if self._succession.live is None and not self._stopping:
            self._outage.rescue(deploy, lives)

    def _retry(self, deploy: Deploy, trigger: Trigger) -> None:
        """Ask for ``deploy``, of what the files name now, unless another is asked for."""
        if self._pending is None and self._current is None:
            self.named = self._world.named()
            self._ask(deploy, self.named, trigger)

    # --- what is told ---------------------------------------------------------------------------------------------

    def _switched(self, life: Lifecycle) -> None:
        self._verdicts.switched(life.plan.release)
        self._on_switch(life.plan.config)

    def _set_launch_due(self) -> None:
        under_way = self._current is not None or self._pending is not None or self._succession.recovery.is_due
        under_way |= not self.started.is_set()
        self._roster.is_launch_due = under_way and not self._stopping
