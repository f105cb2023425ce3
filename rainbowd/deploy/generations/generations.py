"""Which generation is live, which stands by, and what is launched where the live one dies.

At most one is live, at most one is kept warm.  The switch is one assignment; what was live before becomes the standby,
or drains.  Where the live one dies, a warm standby is live at once, and standby again when the dead one's successor,
launched from what it was launched from, is healthy.
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
    from rainbowd.deploy.generations.ownership import Ownership
    from rainbowd.deploy.interfaces import Host, LaunchPlan, LeftGeneration
    from rainbowd.deploy.verdicts import Deploy
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

PORT_TRIES = 5


class Generations:
    """Keeps one generation live.

    Args:
        on_switch: told of each generation that becomes live.
        on_change: called when a launch that nobody asked for is due, or not any more.
        on_silence: told of the live one when it misses its checks.
        on_crash: told of the live one when it has died.
        last_good: see ``Recovery``.

    Attributes:
        live: its life; None where nothing is live.
        config: by which the live one was launched, or the last one was.
        hurry: no more patience with any process once this is set.
        recovery: while nothing is live that should be.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        world: Host,
        config: Config,
        ownership: Ownership,
        *,
        on_switch: Callable[[Lifecycle], None],
        on_change: Callable[[], None],
        on_silence: Callable[[Lifecycle], None],
        on_crash: Callable[[Lifecycle], None],
        last_good: Callable[[], Path | None],
    ) -> None:
        self.live: Lifecycle | None = None
        self.config = config
        self.hurry = trio.Event()
        self.recovery = Recovery(world, self.launch, self.switch, on_change, last_good)
        self._roster = roster
        self._world = world
        self._surroundings = LifecycleContext(
            roster,
            recorder,
            world,
            drain=lambda: self.config.drain,
            hurry=self.hurry,
            ownership=ownership,
            on_silence=on_silence,
        )
        self._on_switch = on_switch
        self._on_crash = on_crash
        self._standby: Lifecycle | None = None
        self._stopping = False

    @property
    def standby(self) -> Lifecycle | None:
        """The one that is kept warm, if there is one and it is not at its end."""
        return self._standby if self._standby is not None and self._standby.is_warm else None

    def standby_of(self, release: Path) -> Lifecycle | None:
        """The standby, if that is of this release."""
        standby = self.standby
        return standby if standby is not None and standby.plan.release == release else None

    def stop(self) -> None:
        """Launch nothing more by itself."""
        self._stopping = True
        self.recovery.end()

    # --- launching ------------------------------------------------------------------------------------------------

    async def launch(self, plan: LaunchPlan, lives: trio.Nursery, *, deploy: Deploy | None = None) -> Lifecycle:
        """Launch ``plan`` and see it healthy, on another port where a stranger took the one chosen.

        Args:
            plan: what to launch.
            lives: the nursery for its life.
            deploy: what it is launched for, which is given the number of each candidate, and may have one for the
                first; None for a relaunch.

        Raises:
            DeployFailed: it is not healthy; it is being ended.
        """
        number = deploy.generation if deploy is not None else None
        holder = ""
        for _ in range(PORT_TRIES):
            life = self._begin(plan, number or self._world.next_number(), lives, deploy)
            number = None
            if deploy is not None:
                deploy.generation = life.number
                if deploy.progress is not None:
                    deploy.progress.launched(life)
            try:
                await life.ready.wait()
            except trio.Cancelled:
                life.end(EndReason.DROPPED)
                raise
            if not isinstance(life.failure, PortTaken) or (holder and holder == life.failure.holder):
                break  # one and the same stranger on two ports is what the app itself has started elsewhere
            holder = life.failure.holder
        if life.failure is not None:
            raise life.failure
        if not life.is_candidate:
            raise DeployFailed("the app ended before the switch")
        return life

    def take_in(self, left: LeftGeneration, lives: trio.Nursery) -> Lifecycle:
        """Begin the rest of the life of what an earlier agent left; one that is a standby is ours from now on."""
        life = AdoptedLifecycle(left, self._surroundings, on_death=partial(self._on_death, lives))
        lives.start_soon(life.run)
        if left.state is State.STANDBY:
            self._standby = life
        return life

    def _begin(self, plan: LaunchPlan, number: int, lives: trio.Nursery, deploy: Deploy | None) -> Lifecycle:
        on_death, asked_by = partial(self._on_death, lives), deploy.id if deploy is not None else None
        life = Lifecycle(plan, number, self._surroundings, on_death=on_death, deploy=asked_by)
        lives.start_soon(life.run)
        return life

    # --- switching ------------------------------------------------------------------------------------------------

    def switch(self, life: Lifecycle, *, keep_previous: bool = True) -> None:
        """From this assignment on, new requests go to ``life``; the one before stands by, or drains.

        Args:
            life: of a candidate, the standby, or what is adopted.
            keep_previous: False where what was live is not well.
        """
        previous, standby = self.live, self.standby
        warm_seconds = life.plan.config.standby
        keeps = keep_previous and previous is not None and previous.is_candidate and warm_seconds > 0
        if standby is not life and (keeps or warm_seconds == 0):
            self._end_standby(standby)
        self._promote(life, State.STANDBY if keeps else State.DRAINING)
        if previous is not None and keeps:
            self._standby = previous
            previous.stay_warm(warm_seconds)
        elif previous is not None:
            previous.end(EndReason.SUPERSEDED)
        self.recovery.end()

    def end_standby_early(self) -> bool:
        """Give its slot to another; whether there was one."""
        standby = self.standby
        self._end_standby(standby)
        return standby is not None

    def _end_standby(self, standby: Lifecycle | None) -> None:
        if standby is not None and standby.generation is not None:
            self._roster.advance(standby.generation, State.DRAINING)
            standby.end(EndReason.SUPERSEDED)

    def _promote(self, life: Lifecycle, previous: State) -> None:
        generation = life.generation
        assert generation is not None
        is_adopted = life.is_left and generation.state is State.STARTING
        live_at = generation.live_at if is_adopted else None
        self.live = life
        self.config = life.plan.config
        if generation is not self._roster.live:  # as it is where it is taken back
            live_at = self._world.now() if live_at is None else live_at
            self._roster.promote(generation, live_at=live_at, previous=previous)
        life.switched()
        self._on_switch(life)

    # --- when the live one dies -----------------------------------------------------------------------------------

    def _on_death(self, lives: trio.Nursery, life: Lifecycle) -> None:
        """Launch the same again, not waiting for a deploy under way; the standby bridges, or requests are held."""
        if life is not self.live or life.generation is None:
            return
        self._on_crash(life)
        if not self._stopping and not self.recovery.is_under_way:
            self.recovery.begin(lambda: self.recovery.of_dead(life, lives), lives)
        standby = self.standby
        if standby is not None:
            self._standby = None
            self._promote(standby, State.STOPPING)
        else:
            self.live = None
            self._roster.advance(life.generation, State.STOPPING)
