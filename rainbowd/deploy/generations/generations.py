"""The live generation, the standby, and the relaunch after a crash of the live one.

At most one generation is live, and at most one is kept warm. The switch is one assignment; the generation that was live
before becomes the standby, or drains. If the live generation crashes, a warm standby is live at once. It is the standby
again when the relaunch of the crashed generation's plan is healthy.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.generations.adopted import AdoptedLifecycle
from rainbowd.deploy.generations.lifecycle import EndReason, Lifecycle, LifecycleContext
from rainbowd.deploy.generations.recovery import Recovery
from rainbowd.deploy.interfaces import PortTaken
from rainbowd.errors import DeployFailed
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.deploy.deploys.deploy import Deploy
    from rainbowd.deploy.generations.ownership import Ownership
    from rainbowd.deploy.interfaces import Host, LaunchPlan, LeftGeneration
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

PORT_TRIES = 5


class Generations:
    """The generations of one app, of which one is kept live.

    Args:
        roster: gets the generations, and which of them is live.
        recorder: writes the journal.
        host: launches and adopts apps.
        config: the config to drain by until a generation is live.
        ownership: whether this agent may stop the generations.
        on_switch: called with each generation that becomes live.
        on_change: called when it changes whether a relaunch is expected.
        on_unresponsive: called with the live generation when it fails its liveness checks.
        on_crash: called with the live generation when it has crashed.
        last_good_release: see ``Recovery``.

    Attributes:
        live: the lifecycle of the live generation; None if nothing is live.
        config: the config that the live generation was launched with, or the last one that was live.
        stop_now: once set, processes that are being stopped are killed.
        recovery: relaunches while nothing is live that should be.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        host: Host,
        config: Config,
        ownership: Ownership,
        *,
        on_switch: Callable[[Lifecycle], None],
        on_change: Callable[[], None],
        on_unresponsive: Callable[[Lifecycle], None],
        on_crash: Callable[[Lifecycle], None],
        last_good_release: Callable[[], Path | None],
    ) -> None:
        self.live: Lifecycle | None = None
        self.config = config
        self.stop_now = trio.Event()
        self.recovery = Recovery(host, self.launch, self.switch, on_change, last_good_release)
        self._roster = roster
        self._host = host
        self._context = LifecycleContext(
            roster,
            recorder,
            host,
            drain=lambda: self.config.drain,
            stop_now=self.stop_now,
            ownership=ownership,
            on_unresponsive=on_unresponsive,
        )
        self._on_switch = on_switch
        self._on_crash = on_crash
        self._standby: Lifecycle | None = None
        self._is_stopping = False

    @property
    def standby(self) -> Lifecycle | None:
        """The generation that is kept warm; None if there is none, or if it is being stopped."""
        return self._standby if self._standby is not None and self._standby.is_warm else None

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

    async def launch(self, plan: LaunchPlan, nursery: trio.Nursery, *, deploy: Deploy | None = None) -> Lifecycle:
        """Launch ``plan`` and wait until it is healthy, on another port if another program took the chosen one.

        Args:
            plan: what to launch.
            nursery: runs the lifecycle.
            deploy: what it is launched for; None for a relaunch. It gets the id of each candidate, and may bring the
                id of the first.

        Returns:
            The lifecycle, which can be switched to.

        Raises:
            DeployFailed: it is not healthy, and is being stopped.
        """
        generation_id = deploy.generation if deploy is not None else None
        holder = ""
        for _ in range(PORT_TRIES):
            lifecycle = self._start(plan, generation_id or self._host.next_number(), nursery, deploy)
            generation_id = None
            if deploy is not None:
                deploy.generation = lifecycle.id
                if deploy.progress is not None:
                    deploy.progress.begin_boot(lifecycle)
            try:
                await lifecycle.ready.wait()
            except trio.Cancelled:
                lifecycle.stop(EndReason.DROPPED)
                raise
            if not isinstance(lifecycle.failure, PortTaken) or (holder and holder == lifecycle.failure.holder):
                break  # the same program on two chosen ports is one that the app itself has started elsewhere
            holder = lifecycle.failure.holder
        if lifecycle.failure is not None:
            raise lifecycle.failure
        if not lifecycle.is_candidate:
            raise DeployFailed("the app exited before the switch")
        return lifecycle

    def adopt(self, left: LeftGeneration, nursery: trio.Nursery) -> Lifecycle:
        """Continue the lifecycle of a generation that an earlier agent has left; a standby is the standby here.

        Args:
            left: the record of the generation, in the state that it should have.
            nursery: runs the lifecycle.
        """
        lifecycle = AdoptedLifecycle(left, self._context, on_crash=partial(self._crashed, nursery))
        nursery.start_soon(lifecycle.run)
        if left.state is State.STANDBY:
            self._standby = lifecycle
        return lifecycle

    def _start(self, plan: LaunchPlan, generation_id: int, nursery: trio.Nursery, deploy: Deploy | None) -> Lifecycle:
        on_crash, deploy_id = partial(self._crashed, nursery), deploy.id if deploy is not None else None
        lifecycle = Lifecycle(plan, generation_id, self._context, on_crash=on_crash, deploy=deploy_id)
        nursery.start_soon(lifecycle.run)
        return lifecycle

    # --- switching ------------------------------------------------------------------------------------------------

    def switch(self, lifecycle: Lifecycle, *, keep_previous: bool = True) -> None:
        """Send new requests to a generation from now on; the live one becomes the standby, or drains.

        Args:
            lifecycle: of the candidate, the standby, or an adopted generation.
            keep_previous: False if the live generation is unresponsive, so that it is no use as the standby.
        """
        previous, standby = self.live, self.standby
        warm_seconds = lifecycle.plan.config.standby
        keeps = keep_previous and previous is not None and previous.is_candidate and warm_seconds > 0
        if standby is not lifecycle and (keeps or warm_seconds == 0):
            self._drain_standby(standby)
        self._promote(lifecycle, State.STANDBY if keeps else State.DRAINING)
        if previous is not None and keeps:
            self._standby = previous
            previous.stay_warm(warm_seconds)
        elif previous is not None:
            previous.stop(EndReason.SUPERSEDED)
        self.recovery.stop()

    def drain_standby(self) -> bool:
        """Drain the standby before its time, and return whether there was one."""
        standby = self.standby
        self._drain_standby(standby)
        return standby is not None

    def _drain_standby(self, standby: Lifecycle | None) -> None:
        if standby is not None and standby.generation is not None:
            self._roster.advance(standby.generation, State.DRAINING)
            standby.stop(EndReason.SUPERSEDED)

    def _promote(self, lifecycle: Lifecycle, previous: State) -> None:
        generation = lifecycle.generation
        assert generation is not None
        is_readmitted = lifecycle.is_adopted and generation.state is State.STARTING
        live_at = generation.live_at if is_readmitted else None
        self.live = lifecycle
        self.config = lifecycle.plan.config
        if generation is not self._roster.live:  # it is already if it was taken back after a failed upgrade
            live_at = self._host.now() if live_at is None else live_at
            self._roster.promote(generation, live_at=live_at, previous=previous)
        lifecycle.switched()
        self._on_switch(lifecycle)

    # --- crashes --------------------------------------------------------------------------------------------------

    def _crashed(self, nursery: trio.Nursery, lifecycle: Lifecycle) -> None:
        """Relaunch the live generation's plan at once; until then the standby serves, or requests are held."""
        if lifecycle is not self.live or lifecycle.generation is None:
            return
        self._on_crash(lifecycle)
        if not self._is_stopping and not self.recovery.is_running:
            self.recovery.start(lambda: self.recovery.relaunch_crashed(lifecycle, nursery), nursery)
        standby = self.standby
        if standby is not None:
            self._standby = None
            self._promote(standby, State.STOPPING)
        else:
            self.live = None
            self._roster.advance(lifecycle.generation, State.STOPPING)
