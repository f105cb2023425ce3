"""The live generation, the standby, and the relaunch after a crash of the live one.

At most one generation is live, and at most one is kept warm. The switch is one assignment; the generation that was live
before becomes the standby, or drains. If the live generation crashes, a warm standby is live at once. It is the standby
again when the relaunch of the crashed generation's plan is healthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.failures import PortTaken
from rainbowd.deploy.generations.adopted_lifecycle import AdoptedLifecycle
from rainbowd.deploy.generations.companions import Companions
from rainbowd.deploy.generations.lifecycle import EndReason, Lifecycle
from rainbowd.deploy.generations.recent_errors import RecentErrors
from rainbowd.deploy.generations.recovery import Recovery
from rainbowd.errors import DeployFailed
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config, Drain
    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.generations.deploy_memory import MemoryFile
    from rainbowd.deploy.interfaces import RecordedGeneration
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.roster import Generation

PORT_TRIES = 5


class Generations:
    """The generations of one app, of which one is kept live.

    The roster alone contains which generation is live and which one is the standby; their lifecycles are found by id.

    Args:
        context: see ``DeployContext``.
        memory: remembers which releases were live, and the crashes.
        config: the config in force until a generation is live.
        on_switch: called with the config of each generation that becomes live.
        on_unresponsive: called with the live generation or the canary when it fails its liveness checks.

    Attributes:
        on_crash_of: called at a crash of the generation with that id; returns what is launched instead, or None.
        recent_errors: the errors of the live generation in the recent past.
        config: the config in force: that of the live generation, or of the last one that was live.
        recovery: relaunches while nothing is live that should be.
        companions: the companion processes of all generations.
    """

    def __init__(
        self,
        context: DeployContext,
        memory: MemoryFile,
        config: Config,
        *,
        on_switch: Callable[[Config], None],
        on_unresponsive: Callable[[Lifecycle], None],
    ) -> None:
        self.config = config
        self.recovery = Recovery(context, memory, launch=self.launch, switch=self.switch)
        self.companions = Companions(context)
        self.on_unresponsive = on_unresponsive
        self._context = context
        self._roster = context.roster
        self._memory = memory
        self._on_switch = on_switch
        self.on_crash_of: dict[int, Callable[[], Lifecycle | None]] = {}
        self.recent_errors = RecentErrors(context.roster, lambda: self.config.bake.seconds)
        self._lifecycles: dict[int, Lifecycle] = {}
        self._is_stopping = False

    @property
    def live(self) -> Lifecycle | None:
        """The lifecycle of the live generation; None if nothing is live."""
        live = self._roster.live
        return None if live is None else self._lifecycles.get(live.id)

    @property
    def standby(self) -> Lifecycle | None:
        """The lifecycle of the generation that is kept warm; None if there is none, or if it is being stopped."""
        generations = self._roster.generations.values()
        warm = (self._lifecycles.get(one.id) for one in generations if one.state is State.STANDBY)
        return next((lifecycle for lifecycle in warm if lifecycle is not None and lifecycle.is_candidate), None)

    @property
    def drain(self) -> Drain:
        """The drain settings of the config in force."""
        return self.config.drain

    @property
    def is_changing(self) -> bool:
        """Whether a generation is being launched or stopped."""
        changing = {State.STARTING, State.STOPPING}
        return any(generation.state in changing for generation in self._roster.generations.values())

    def standby_of(self, release: Path) -> Lifecycle | None:
        """Return the standby if it runs ``release``, else None."""
        standby = self.standby
        return standby if standby is not None and standby.plan.release == release else None

    def stop(self) -> None:
        """Stop relaunching; the generations stay as they are."""
        self._is_stopping = True
        self.recovery.stop()

    # --- launching ------------------------------------------------------------------------------------------------

    async def launch(
        self,
        plan: LaunchPlan,
        *,
        deploy_id: str | None = None,
        generation_id: int | None = None,
        on_candidate: Callable[[Lifecycle], None] | None = None,
    ) -> Lifecycle:
        """Launch ``plan`` and wait until it is healthy, on another port if another program took the chosen one.

        Args:
            plan: what to launch.
            deploy_id: the id of the deploy that it is launched for; None for a relaunch.
            generation_id: the id of the first candidate; None for a new one.
            on_candidate: called with each candidate, before its processes exist.

        Returns:
            The lifecycle, which can be switched to.

        Raises:
            DeployFailed: it is not healthy, and is being stopped.
        """
        holder = ""
        for _ in range(PORT_TRIES):
            candidate_id = generation_id or self._context.host.launcher.next_generation_id()
            generation_id = None
            lifecycle = self._start(Lifecycle(plan, candidate_id, self._context, self, deploy_id=deploy_id))
            if on_candidate is not None:
                on_candidate(lifecycle)
            await _until_ready_or_failed(lifecycle)
            if not isinstance(lifecycle.failure, PortTaken) or (holder and holder == lifecycle.failure.holder):
                break  # the same program on two chosen ports is one that the app itself has started elsewhere
            holder = lifecycle.failure.holder
        if lifecycle.failure is not None:
            raise lifecycle.failure
        if not lifecycle.is_candidate:
            raise DeployFailed("the app exited before the switch")
        return lifecycle

    def adopt(self, recorded: RecordedGeneration) -> Lifecycle:
        """Continue the lifecycle of a generation that an earlier agent has left; a standby is the standby here.

        Args:
            recorded: the generation, in the state that it should have.
        """
        return self._start(AdoptedLifecycle(recorded, self._context, self))

    def _start(self, lifecycle: Lifecycle) -> Lifecycle:
        self._lifecycles[lifecycle.id] = lifecycle
        self._context.nursery.start_soon(self._run, lifecycle)
        return lifecycle

    async def _run(self, lifecycle: Lifecycle) -> None:
        try:
            await lifecycle.run()
        finally:
            del self._lifecycles[lifecycle.id]

    # --- switching ------------------------------------------------------------------------------------------------

    def give_share(self, lifecycle: Lifecycle, share_percent: float, by: str) -> None:
        """Send a share of the clients to a candidate.

        Args:
            lifecycle: of the candidate.
            share_percent: from 0 to 100.
            by: how clients are told apart, as in ``canary.by``.

        Raises:
            DeployFailed: it has exited.
        """
        if not lifecycle.is_candidate:
            raise DeployFailed("the app exited before the switch")
        self._roster.give_share(self._roster.generations[lifecycle.id], share_percent=share_percent, by=by)
        lifecycle.has_share(share_percent)

    def drop(self, lifecycle: Lifecycle) -> None:
        """Send no further request to a canary, and stop it when it has finished its own."""
        generation = self._roster.generations.get(lifecycle.id)
        if generation is not None and generation.state is State.CANARY:
            self._roster.advance(generation, State.DRAINING)
        lifecycle.stop(EndReason.DROPPED)

    def switch(
        self, lifecycle: Lifecycle, *, keep_previous: bool = True, warm_seconds: float | None = None
    ) -> Generation:
        """Send new requests to a generation from now on; the live one becomes the standby, or drains.

        Args:
            lifecycle: of the candidate, the standby, or an adopted generation.
            keep_previous: False if the live generation is unresponsive, so that it is no use as the standby.
            warm_seconds: how long the live generation is the standby; None for ``standby`` of the config.

        Returns:
            The generation, which is live now.
        """
        live, standby = self.live, self.standby
        previous = None if live is lifecycle else live
        if warm_seconds is None:
            warm_seconds = lifecycle.plan.config.standby
        keeps = keep_previous and previous is not None and previous.is_candidate and warm_seconds > 0
        if standby is not lifecycle and (keeps or warm_seconds == 0):
            self._drain_standby(standby)
        generation = self._promote(lifecycle, State.STANDBY if keeps else State.DRAINING)
        if previous is not None and keeps:
            previous.stay_warm(warm_seconds)
        elif previous is not None:
            previous.stop(EndReason.SUPERSEDED)
        self.recovery.stop()
        return generation

    def go_back(self, failed: Lifecycle, previous: Lifecycle) -> bool:
        """Make the standby live again and stop ``failed``; return whether it is live, as it may have ended, too."""
        if self.live is failed and self.standby is previous:
            self._promote(previous, State.DRAINING)
            failed.stop(EndReason.SUPERSEDED)
        return self.live is previous

    def keep_standby(self, lifecycle: Lifecycle, seconds: float) -> None:
        """Keep the standby for ``seconds`` from now on; 0 drains it."""
        if self.standby is lifecycle and seconds > 0:
            lifecycle.stay_warm(seconds)
        elif self.standby is lifecycle:
            self._drain_standby(lifecycle)

    def drain_standby(self) -> bool:
        """Drain the standby before its time, and return whether there was one."""
        standby = self.standby
        self._drain_standby(standby)
        return standby is not None

    def _drain_standby(self, standby: Lifecycle | None) -> None:
        if standby is not None:
            self._roster.advance(self._roster.generations[standby.id], State.DRAINING)
            standby.stop(EndReason.SUPERSEDED)

    def _promote(self, lifecycle: Lifecycle, previous: State) -> Generation:
        generation = self._roster.generations[lifecycle.id]
        is_readmitted = lifecycle.is_adopted and generation.state is State.STARTING
        live_at = generation.live_at if is_readmitted else None
        self.config = lifecycle.plan.config
        self._on_switch(self.config)  # before the switch, so that no request to the new generation has old settings
        if generation is not self._roster.live:  # it is already if it was taken back after a failed upgrade
            live_at = self._context.host.now() if live_at is None else live_at
            self._roster.promote(generation, live_at=live_at, previous=previous)
        self.recent_errors.restart()
        lifecycle.switched()
        self.companions.went_live(generation, lifecycle.plan)
        self._memory.add_switch(lifecycle.plan.release)
        return generation

    # --- crashes --------------------------------------------------------------------------------------------------

    def on_crash(self, lifecycle: Lifecycle) -> None:
        """Relaunch the live generation's plan at once; until then the standby serves, or requests are held.

        Args:
            lifecycle: of a generation that has crashed.
        """
        on_crash, standby = self.on_crash_of.get(lifecycle.id), self.standby
        instead = None if on_crash is None else on_crash()
        generation = self._roster.generations[lifecycle.id]
        if generation.state is State.CANARY:
            self._roster.advance(generation, State.STOPPING)
        if lifecycle is not self.live:
            return
        if on_crash is not None and standby is not None:
            self._promote(standby, State.STOPPING)
            return
        if instead is None:
            self._memory.add_crash(lifecycle.plan.release, lifecycle.id, lifecycle.crash or "died")
        if not self._is_stopping and not self.recovery.is_running:
            self.recovery.start(lambda: self.recovery.relaunch_crashed(instead or lifecycle))
        if standby is not None:
            self._promote(standby, State.STOPPING)
        else:
            self._roster.advance(generation, State.STOPPING)


async def _until_ready_or_failed(candidate: Lifecycle) -> None:
    """Wait for the outcome of a launch; if the caller is cancelled meanwhile, stop the candidate."""
    try:
        await candidate.ready.wait()
    except trio.Cancelled:
        candidate.stop(EndReason.DROPPED)
        raise
