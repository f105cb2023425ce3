"""Which generation is live, which stands by, and what is launched where the live one dies.

At most one is live, at most one is kept warm.  The switch is one assignment; what was live before becomes the standby,
or drains.  Where the live one dies, a warm standby is live at once, and standby again when the dead one's successor,
launched from what it was launched from, is healthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.backoff import BackOff
from rainbowd.deploy.life import End, Life
from rainbowd.deploy.seam import PortTaken
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from rainbowd.config import Config
    from rainbowd.deploy.ownership import Ownership
    from rainbowd.deploy.seam import Left, Plan, World
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Roster

PORT_TRIES = 5

log = get_logger()


class Succession:
    """Keeps one generation live.

    Args:
        on_switch: told of each generation that becomes live.
        on_change: called when a relaunch is due, or not any more.
        on_silence: told of the live one when it misses its checks.

    Attributes:
        live: its life; None where nothing is live.
        config: by which the live one was launched, or the last one was.
        hurry: no more patience with any process once this is set.
        back_off: for launches that nobody asked for.
        relaunch_due: a launch is under way or about to be, because what was live is not.
    """

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        world: World,
        config: Config,
        ownership: Ownership,
        *,
        on_switch: Callable[[Life], None],
        on_change: Callable[[], None],
        on_silence: Callable[[Life], None],
    ) -> None:
        self.live: Life | None = None
        self.config = config
        self.hurry = trio.Event()
        self.back_off = BackOff()
        self.relaunch_due = False
        self._roster = roster
        self._recorder = recorder
        self._world = world
        self._ownership = ownership
        self._on_switch = on_switch
        self._on_change = on_change
        self._on_silence = on_silence
        self._standby: Life | None = None
        self._recovery: trio.CancelScope | None = None
        self._stopping = False

    @property
    def standby(self) -> Life | None:
        """The one that is kept warm, if there is one and it is not at its end."""
        return self._standby if self._standby is not None and self._standby.is_warm else None

    @property
    def recovering(self) -> bool:
        """Something is being launched, or will be, because nothing that should be live is."""
        return self._recovery is not None

    def standby_of(self, release: Path) -> Life | None:
        """The standby, if that is of this release."""
        standby = self.standby
        return standby if standby is not None and standby.plan.release == release else None

    def stop(self) -> None:
        """Launch nothing more by itself."""
        self._stopping = True
        self.end_recovery()

    # --- launching ------------------------------------------------------------------------------------------------

    async def launch(
        self,
        plan: Plan,
        lives: trio.Nursery,
        *,
        on_number: Callable[[int], None] | None = None,
        number: int | None = None,
        deploy: str | None = None,
    ) -> Life:
        """Launch ``plan`` and see it healthy, on another port where a stranger took the one chosen.

        Args:
            plan: what to launch.
            lives: the nursery for its life.
            on_number: told the number of each candidate; without it this is a relaunch.
            number: the first candidate's, if it has one already.
            deploy: the deploy that it is for, for the journal.

        Raises:
            DeployFailed: it is not healthy; it is being ended.
        """
        for _ in range(PORT_TRIES):
            life = self._begin(
                plan, number or self._world.next_number(), lives, relaunch=on_number is None, deploy=deploy
            )
            number = None
            if on_number is not None:
                on_number(life.number)
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

    def take_in(self, left: Left, lives: trio.Nursery) -> Life:
        """Begin the rest of the life of what an earlier agent left; one that is a standby is ours from now on."""
        life = self._begin(left.plan, left.number, lives, left=left)
        if left.state is State.STANDBY:
            self._standby = life
        return life

    def _begin(
        self,
        plan: Plan,
        number: int,
        lives: trio.Nursery,
        *,
        relaunch: bool = False,
        left: Left | None = None,
        deploy: str | None = None,
    ) -> Life:
        life = Life(
            plan,
            number,
            roster=self._roster,
            recorder=self._recorder,
            world=self._world,
            drain=lambda: self.config.drain,
            hurry=self.hurry,
            ownership=self._ownership,
            on_death=lambda life: self._on_death(life, lives),
            on_silence=self._on_silence,
            relaunch=relaunch,
            left=left,
            deploy=deploy,
        )
        lives.start_soon(life.run)
        return life

    # --- switching ------------------------------------------------------------------------------------------------

    def switch(self, life: Life, *, keep_previous: bool = True) -> None:
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
            previous.end(End.SUPERSEDED)
        self.end_recovery()

    def end_standby_early(self) -> bool:
        """Give its slot to another; whether there was one."""
        standby = self.standby
        self._end_standby(standby)
        return standby is not None

    def _end_standby(self, standby: Life | None) -> None:
        if standby is not None and standby.generation is not None:
            self._roster.advance(standby.generation, State.DRAINING)
            standby.end(End.SUPERSEDED)

    def _promote(self, life: Life, previous: State) -> None:
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

    def _on_death(self, life: Life, lives: trio.Nursery) -> None:
        """Launch the same again, not waiting for a deploy under way; the standby bridges, or requests are held."""
        if life is not self.live or life.generation is None:
            return
        if not self._stopping and not self.recovering:
            self.begin_recovery(lambda: self._recover(life, lives), lives)
        standby = self.standby
        if standby is not None:
            self._standby = None
            self._promote(standby, State.STOPPING)
        else:
            self.live = None
            self._roster.advance(life.generation, State.STOPPING)

    async def _recover(self, dead: Life, lives: trio.Nursery) -> None:
        """Launch what ``dead`` was launched from until that is live."""
        lived_seconds = dead.live_for_seconds
        while True:
            await trio.sleep(self.back_off.after(lived_seconds))
            lived_seconds = 0.0
            if await self.relaunch(dead.plan, lives):
                return

    async def relaunch(self, plan: Plan, lives: trio.Nursery) -> bool:
        """Launch ``plan`` without a deploy, and switch to it; whether that went well."""
        self.set_relaunch_due(due=True)
        recovery = self._recovery
        try:
            life = await self.launch(plan, lives)
        except DeployFailed as failure:
            log.error("a relaunch failed", release=plan.release, reason=failure.reason, output=failure.output)
            self.set_relaunch_due(due=False)
            return False
        if self._recovery is recovery:
            self.switch(life)
        else:  # something else went live in the same instant
            life.end(End.DROPPED)
        return True

    def begin_recovery(self, recover: Callable[[], Awaitable[None]], lives: trio.Nursery) -> None:
        """Run ``recover`` until something is live, unless that comes about by a deploy before."""
        scope = self._recovery = trio.CancelScope()
        self.set_relaunch_due(due=True)

        async def run() -> None:
            with scope:
                await recover()

        lives.start_soon(run)

    def end_recovery(self) -> None:
        """What is to be live is, or nothing is to be any more."""
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None
        self.set_relaunch_due(due=False)

    def set_relaunch_due(self, *, due: bool) -> None:
        """Whether requests may be held for a launch that no deploy asked for."""
        self.relaunch_due = due
        self._on_change()
