"""The supervisor: one deploy at a time, from the requests that it merges to the outcomes that it records.

The supervisor decides which deploy is next. A ``DeployExecution`` carries out one deploy, ``Generations`` knows the
live generation, a ``Lifecycle`` runs one generation from launch to end, and ``Host`` does everything that touches the
machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.deploys.deploy import Deploy
from rainbowd.deploy.deploys.deploy_execution import DeployExecution
from rainbowd.deploy.deploys.deploy_log import DeployLog
from rainbowd.deploy.deploys.deploy_queue import DeployQueue
from rainbowd.deploy.deploys.fallback import Fallback
from rainbowd.deploy.deploys.hooks import HookRunner, after_failure_call
from rainbowd.deploy.deploys.resumed_bake import resume_bake
from rainbowd.deploy.deploys.snapshot import DeploySnapshot
from rainbowd.deploy.failures import INTERRUPTED
from rainbowd.deploy.generations.adoption import adopt, should_deploy
from rainbowd.deploy.generations.deploy_memory import MemoryFile
from rainbowd.deploy.generations.generation_slots import Slots
from rainbowd.deploy.generations.generations import Generations
from rainbowd.deploy.generations.liveness import ReplacementBackoff
from rainbowd.deploy.watch.watcher import Trigger
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.deploys.resumed_bake import ResumedBake
    from rainbowd.deploy.generations.lifecycle import Lifecycle
    from rainbowd.deploy.records import LastOutcome
    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.deploy.watch.restart_file import RestartRequest

log = get_logger()


class Supervisor:
    """The owner of all deploys: it turns triggers into deploys, and keeps one generation live.

    Args:
        context: see ``DeployContext``.
        config: the config at the agent's start.
        on_switch: called with the config of each generation that becomes live.
        is_handed_over: whether an earlier agent or supervisor has watched the generations until now.

    Attributes:
        ownership: whether this agent may stop the generations.
        started: set once the generations of an earlier agent are adopted.
        seen: the state of the files at the last outcome, if changes since then request a deploy; else None.
        is_stopping: whether the supervisor takes no more requests.
    """

    def __init__(
        self,
        context: DeployContext,
        config: Config,
        on_switch: Callable[[Config], None],
        *,
        is_handed_over: bool = False,
    ) -> None:
        self.ownership = context.ownership
        self.started = trio.Event()
        self.seen: FileState | None = None
        self.is_stopping = False
        self._context = context
        self._roster = context.roster
        self._desired_state = context.host.desired_state
        self._link = config.release
        self._is_handed_over = is_handed_over
        self._memory = MemoryFile(context.host)
        self._deploy_log = DeployLog(context, self._memory)
        self._generations = Generations(
            context, self._memory, config, on_switch=on_switch, on_unresponsive=self._replace_unresponsive
        )
        self._hooks = HookRunner(context)
        self._fallback = Fallback(
            context, self._generations.recovery, self._memory, retry=self._retry, request=self.request
        )
        self._slots = Slots(context.roster)
        self._replacement_backoff = ReplacementBackoff()
        self._queue = DeployQueue(
            self._desired_state, self._memory, self._deploy_log, on_link_change=self._link_changed
        )
        self._current: DeployExecution | None = None
        self._roster.hold_while(self._is_launch_due)

    @property
    def named_release(self) -> Path | None:
        """The release that the files named when they were last read; None if they named none."""
        return self._queue.named_release

    @property
    def last_outcome(self) -> LastOutcome | None:
        """The outcome of the last deploy, of this agent or an earlier one; None if there was none."""
        return self._memory.content.last_outcome

    @property
    def deploying(self) -> Deploy | None:
        """The deploy that is under way, with its ``progress``; None if there is none."""
        return None if self._current is None else self._current.deploy

    @property
    def config(self) -> Config:
        """The config in force: that of the live generation, or of the last one that was live."""
        return self._generations.config

    @property
    def kill_after_seconds(self) -> float:
        """How long the app and its companion processes can take to end, after they were asked to."""
        return max(self.config.drain.kill_after, self._generations.companions.kill_after_seconds)

    @property
    def is_idle(self) -> bool:
        """Whether no deploy, launch, hook or stop is under way, so that another agent could take all generations."""
        is_launching = self._has_deploy or self._generations.recovery.is_launch_expected
        is_ending = self._generations.is_changing or not self._generations.companions.strays_ended.is_set()
        is_busy = is_launching or is_ending or self._hooks.has_pending
        return self.started.is_set() and not is_busy

    @property
    def _has_deploy(self) -> bool:
        """Whether a deploy is under way, or is the next; not during a bake, which another agent can continue."""
        is_under_way = self._current is not None and not self._current.is_baking
        return is_under_way or self._queue.pending is not None

    def snapshot(self) -> DeploySnapshot:
        """Return what there is to report of the deploys now."""
        memory, current, crashes = self._memory.content, self._current, self._memory.content.crashes
        return DeploySnapshot(
            link=self._link,
            named_release=self._queue.named_release,
            previous_release=memory.previous_release,
            deploying=None if current is None else current.deploy,
            progress=None if current is None else current.progress,
            last_outcome=memory.last_outcome,
            crashes=crashes,
            crashed_seconds=0.0 if crashes is None else self._context.host.now() - crashes.at,
            kept=self._generations.companions.kept,
            is_waiting=self._fallback.is_waiting,
        )

    # --- requests and stops ---------------------------------------------------------------------------------------

    def request(self, trigger: Trigger) -> Deploy | None:
        """Request a deploy; while one is under way, all requests are merged into one further deploy.

        Args:
            trigger: what requests it.

        Returns:
            The deploy that it becomes. None if there is none: the agent stops, or the trigger is the restored link of a
            failed deploy.
        """
        if self.is_stopping:
            return None
        live = self._generations.live
        release = None if live is None else live.plan.release
        deploy = self._queue.request(trigger, release, is_deploying=self._current is not None)
        self._fallback.is_waiting = self._fallback.is_waiting and deploy is None
        if self._current is not None:
            self._current.another_requested(self.named_release)
        return deploy

    def restart(self, request: RestartRequest) -> None:
        """Start the companion processes of a name again, whatever else is under way."""
        if not self.is_stopping:
            self._generations.companions.restart(request.process, by=request.by, request=request.id)

    def stop(self) -> None:
        """Interrupt the deploys that have no outcome; the live generation stays live until ``run`` is cancelled."""
        self.is_stopping = True
        self._hooks.stop()
        if self._current is not None:
            self._current.interrupt()
        self._generations.stop()
        self._generations.companions.end()
        self._roster.notify_observers()  # requests are no longer held
        if (deploy := self._queue.take()) is not None:
            self._deploy_log.record_failure(deploy, DeployFailed(INTERRUPTED))

    def hand_over(self) -> None:
        """Leave all generations as they are to another agent; the caller cancels ``run`` and its nursery next."""
        self.is_stopping = True
        self.ownership.give_up()
        self._generations.stop()
        self._roster.hold_while(lambda: True)  # requests are held for a launch by the other agent, too

    def stop_now(self) -> None:
        """Kill every process that is being stopped, without waiting for its own end."""
        self._context.stop_now.set()

    def _replace_unresponsive(self, lifecycle: Lifecycle) -> None:
        """Deploy the live generation's plan again as it fails its checks, unless busy or too soon after the last."""
        if self._current is not None:
            self._current.unresponsive(lifecycle)
        is_busy = self.is_stopping or self._current is not None or self._queue.pending is not None
        if is_busy or lifecycle is not self._generations.live:
            return
        if self._replacement_backoff.allows_replacement(lifecycle.live_seconds):
            deploy = Deploy(is_link_change_only=False, relaunch_plan=lifecycle.plan)
            self._queue.add(deploy, lifecycle.plan.release, Trigger(kind="liveness"))

    # --- deploys --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Adopt the generations of an earlier agent, then carry out deploys until cancelled."""
        await self._start()
        await self.ownership.until_complete()
        self._context.nursery.start_soon(self._generations.recent_errors.run)
        if self._memory.content.bake is not None:
            await self._deploy(*resume_bake(self._memory.content.bake, self._context, self._generations, self._memory))
        while True:
            await self._deploy(await self._queue.next())

    async def _start(self) -> None:
        """Adopt what runs, and deploy what the files name if it is not live, unless it has failed already."""
        try:
            await adopt(
                self._context,
                self._generations,
                self._memory.load(),
                own_deploys=lambda: [] if self._queue.pending is None else [self._queue.pending.id],
                is_handed_over=self._is_handed_over,
            )
        except Exception as bug:
            log.error("bug: adopting broke", exc_info=bug)
            self._generations.companions.strays_ended.set()
        live, memory = self._generations.live, self._memory.content
        self.seen = now = self._desired_state.file_state()  # before the files are read: later changes request a deploy
        if live is not None and memory.sight is not None:
            self.seen = memory.sight
            self._queue.named_release = memory.sight.release or self.named_release  # to notice a change since then
        self.started.set()
        if live is None:
            self._fallback.start(now, self._link)
        elif memory.bake is None and should_deploy(memory, now, self.named_release, live.plan.release):
            self.request(Trigger(kind="start"))
        self._roster.notify_observers()  # requests may wait in vain
        self._context.recorder.status_changed()

    async def _deploy(self, deploy: Deploy, resumed: ResumedBake | None = None) -> None:
        """Carry out one deploy, or end one that an earlier agent began; if it fails, perhaps start the fallback."""
        execution = self._current = DeployExecution(
            deploy,
            self._context,
            generations=self._generations,
            slots=self._slots,
            hooks=self._hooks,
            deploy_log=self._deploy_log,
        )
        self._context.recorder.status_changed()
        try:
            failure = await execution.run(resumed)
        except trio.Cancelled:
            if not (self.ownership.is_given_up and deploy.outcome is None and self._memory.content.bake is not None):
                self._deploy_log.record_failure(deploy, DeployFailed(INTERRUPTED))
            raise
        finally:
            self._current = None
        if failure is not None:
            self._fail(deploy, failure)
            self._roster.notify_observers()  # requests may wait in vain

    def _fail(self, deploy: Deploy, failure: DeployFailed) -> None:
        self._deploy_log.record_failure(deploy, failure)
        self._queue.last_failed = deploy
        if deploy.relaunch_plan is None and deploy.retry_of is None:
            config = self._generations.config
            self._hooks.run_later(after_failure_call(deploy, failure.reason, self.named_release, config))
        if self._generations.live is None and not self.is_stopping:
            self._fallback.recover(deploy)

    def _retry(self, deploy: Deploy, trigger: Trigger) -> None:
        """Request ``deploy`` of what the files name now, unless another deploy is requested."""
        if not self._has_deploy:
            self._queue.retry(deploy, trigger)

    def _link_changed(self, named: Path | None) -> None:
        if self._current is not None:
            self._current.link_changed(named)

    def _is_launch_due(self) -> bool:
        """Return whether a launch is under way or about to begin, so that requests are held."""
        is_launching = self._has_deploy or self._generations.recovery.is_launch_expected or not self.started.is_set()
        return is_launching and not self.is_stopping
