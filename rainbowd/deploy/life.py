"""A generation's life: launch, check, live until superseded, drain, stop, reap.  One straight coroutine."""

from __future__ import annotations

import enum
import signal
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.seam import INTERRUPTED, PortTaken
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import Generation, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.config import Drain
    from rainbowd.deploy.seam import App, Plan, World
    from rainbowd.report.recorder import Recorder
    from rainbowd.roster import Holder, Roster

TUNNELS_CLOSE_SECONDS = 5.0
"""Over how long tunnels are closed whose time is over, so that their clients do not come back all at once."""
_TUNNEL_BATCHES = 50
_CUT_SECONDS = 1.0  # for exchanges that were cut to be gone

_SHELL_STATUSES = {126: " (a command is not executable)", 127: " (a command was not found)"}
"""What a shell means by its exit status: POSIX.1-2017, XCU 2.8.2."""

log = get_logger()


class End(enum.Enum):
    """Why a generation does not go on."""

    SUPERSEDED = enum.auto()
    DROPPED = enum.auto()  # while a candidate
    DIED = enum.auto()
    REFUSING = enum.auto()  # alive, but its address refused connections for a second


class Life:
    """One launch, from its first process to its last.

    Args:
        drain: how to drain, as the config says by then.
        hurry: no more patience once this is set.
        on_death: called the moment that a live generation is known to be dead.

    Attributes:
        generation: None until there is something to launch.
        ready: set when the check has passed or failed.
        failure: why it failed; None where it passed.
        live_for_seconds: how long it has been live, by the monotonic clock.
    """

    def __init__(
        self,
        plan: Plan,
        number: int,
        *,
        roster: Roster,
        recorder: Recorder,
        world: World,
        drain: Callable[[], Drain],
        hurry: trio.Event,
        on_death: Callable[[Life], None],
        relaunch: bool,
    ) -> None:
        self.plan = plan
        self.number = number
        self.generation: Generation | None = None
        self.ready = trio.Event()
        self.failure: DeployFailed | None = None
        self._roster = roster
        self._recorder = recorder
        self._world = world
        self._drain_rules = drain
        self._hurry = hurry
        self._on_death = on_death
        self._relaunch = relaunch
        self._candidacy = trio.CancelScope()
        self._end: End | None = None
        self._ending = trio.Event()
        self._changed = trio.Event()
        self._launched_at = self._healthy_at = self._switched_at = self._draining_at = 0.0  # monotonic

    @property
    def is_candidate(self) -> bool:
        """It passed its check, and may be switched to."""
        return self.failure is None and self._end is None and self.ready.is_set()

    @property
    def live_for_seconds(self) -> float:
        """How long it has been live, by the monotonic clock; 0 if it never was."""
        return trio.current_time() - self._switched_at if self._switched_at else 0.0

    async def run(self) -> None:
        """All of it. No failure of a generation leaves this coroutine."""
        try:
            async with self._world.launch(self.plan, self.number) as app:
                try:
                    await self._prove(app)
                    if self.failure is None:
                        await self._serve(app)
                        await self._drain()
                finally:
                    with trio.CancelScope(shield=True):  # bounded by kill_after
                        await self._retire(app)
        except DeployFailed as failure:
            self._decide(failure)
        except Exception as bug:
            log.error("bug: a generation's life broke", exc_info=bug)
            self._decide(DeployFailed(f"internal error: {bug!r}"))
        finally:
            self._decide(DeployFailed(INTERRUPTED))

    def end(self, why: End) -> None:
        """It does not go on; what is said first counts."""
        if self._end is None:
            self._end = why
            self._ending.set()
            self._candidacy.cancel()

    def switched(self) -> None:
        """It is live now; the supervisor calls this behind the switch."""
        assert self.generation is not None
        self._switched_at = trio.current_time()
        self._record(
            "generation.live",
            boot_seconds=round(self._healthy_at - self._launched_at, 3),
            switch_seconds=round(self._switched_at - self._healthy_at, 3),
        )

    # --- candidate ------------------------------------------------------------------------------------------------

    async def _prove(self, app: App) -> None:
        """Run until healthy; ``failure`` says why it is not."""
        self._launched_at = trio.current_time()
        self._enlist(app)
        app.open_gate()
        self._record("generation.launched", relaunch=self._relaunch, address=str(app.address), pid=app.pid)
        failure = await self._check(app)
        if failure is None:
            self._healthy_at = trio.current_time()
            self._record("generation.healthy")
        elif not failure.output:
            failure.output = app.last_lines()
        self._decide(failure)

    def _enlist(self, app: App) -> None:
        generation = Generation(self.number, self.plan.release, app.address, started_at=self._world.now(), pid=app.pid)
        generation.on_idle = self._wake
        generation.on_refusing = lambda: self.end(End.REFUSING)
        self.generation = generation
        self._roster.add(generation)

    async def _check(self, app: App) -> DeployFailed | None:
        """The check against the process's own end and against being dropped, whichever comes first."""
        failure: DeployFailed | None = DeployFailed("dropped before it was ready")
        with self._candidacy:
            async with trio.open_nursery() as nursery:

                async def watch_end() -> None:
                    nonlocal failure
                    status = await app.ended()
                    said = f"the app {describe_exit(status)} before it was ready"
                    failure = (
                        PortTaken(f"{said}; a stranger holds its port") if app.port_is_taken() else DeployFailed(said)
                    )
                    nursery.cancel_scope.cancel()

                nursery.start_soon(watch_end)
                try:
                    await app.check()
                    failure = None
                except DeployFailed as error:
                    failure = error
                nursery.cancel_scope.cancel()
        return failure

    def _decide(self, failure: DeployFailed | None) -> None:
        if not self.ready.is_set():
            self.failure = failure
            self.ready.set()

    # --- live, draining -------------------------------------------------------------------------------------------

    async def _serve(self, app: App) -> None:
        """Until superseded, dropped or dead."""
        assert self.generation is not None
        status: int | None = None
        async with trio.open_nursery() as nursery:

            async def watch_end() -> None:
                nonlocal status
                status = await app.ended()
                self.end(End.DIED)

            nursery.start_soon(watch_end)
            await self._ending.wait()
            nursery.cancel_scope.cancel()
        if self._end in {End.DIED, End.REFUSING} and self.generation.state is State.LIVE:
            why = describe_exit(status) if self._end is End.DIED else "refuses connections"
            self._record("generation.crashed", exit_status=status, reason=why, output=app.last_lines())
            self._on_death(self)

    async def _drain(self) -> None:
        """Wait for the last lease, as long as the rules allow; then cut what is left, visibly."""
        generation = self.generation
        assert generation is not None
        if generation.state is not State.DRAINING:
            return
        self._draining_at = trio.current_time()
        self._record("generation.draining")
        rules = self._drain_rules()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drain_requests, generation, rules.timeout)
            nursery.start_soon(self._drain_tunnels, generation, rules.tunnels)

    async def _drain_requests(self, generation: Generation, timeout_seconds: float) -> None:
        with trio.move_on_after(timeout_seconds):
            await self._until_empty(generation.holders)
        if generation.holders:
            log.warning("the time to drain is over", generation=generation.id, requests_cut=len(generation.holders))
        for holder in list(generation.holders):
            holder.cut()
        with trio.move_on_after(_CUT_SECONDS):
            await self._until_empty(generation.holders)

    async def _drain_tunnels(self, generation: Generation, timeout_seconds: float) -> None:
        with trio.move_on_after(timeout_seconds):
            await self._until_empty(generation.tunnels)
        left = list(generation.tunnels)
        batch = -(-len(left) // _TUNNEL_BATCHES)
        for at in range(0, len(left), batch or 1):
            for holder in left[at : at + batch]:
                holder.cut()
            await trio.sleep(TUNNELS_CLOSE_SECONDS * batch / len(left))
        with trio.move_on_after(_CUT_SECONDS):
            await self._until_empty(generation.tunnels)

    async def _until_empty(self, holders: set[Holder]) -> None:
        while holders:
            await self._changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    # --- the end --------------------------------------------------------------------------------------------------

    async def _retire(self, app: App) -> None:
        """End every process of it, and say how it went."""
        generation = self.generation
        if generation is None:
            await app.end(self._hurry)
            return
        if generation.state is not State.STOPPING:
            self._roster.advance(generation, State.STOPPING)
        drain_seconds = trio.current_time() - self._draining_at if self._draining_at else 0.0
        ending = await app.end(self._hurry)
        self._roster.advance(generation, State.RETIRED)
        self._record(
            "generation.retired",
            exit_status=ending.exit_status,
            killed=ending.killed,
            drain_seconds=round(drain_seconds, 3),
            requests=generation.requests,
            left=ending.left,
        )

    def _record(self, event: str, **fields: object) -> None:
        assert self.generation is not None
        log.info(event, generation=self.generation.id, release=str(self.plan.release), **fields)
        self._recorder.record(event, generation=self.generation.id, release=self.plan.release, **fields)


def describe_exit(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "ended"
    if status < 0:
        return f"was ended by {_signal_name(-status)}"
    return f"exited with status {status}" + _SHELL_STATUSES.get(status, "")


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # a real-time signal
        return f"signal {signum}"
