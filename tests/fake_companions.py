"""Companion processes without processes, for tests on virtual time; they outlive an agent that is killed."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.companion_interfaces import Instance, RecordedCompanion
from rainbowd.deploy.process import ExitReport
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rainbowd.deploy.companion_interfaces import CompanionProcess
    from rainbowd.deploy.launch_plan import LaunchPlan

EPOCH = 1_000_000_000.0


@dataclass
class CompanionBehaviour:
    """The behaviour of the companions of one name; times are seconds.

    Attributes:
        exits_after: from the launch until it exits by itself, with ``status``.
        stops_after: from the request to end until it exits.
        launch_error: why it cannot be launched; None if it can.
    """

    exits_after: float = math.inf
    status: int = 1
    stops_after: float = 0.5
    launch_error: str | None = None


@dataclass(eq=False)
class FakeCompanion:
    """One companion process."""

    host: FakeCompanions
    plan: LaunchPlan
    generation_id: int
    instance: Instance
    pid: int
    behaviour: CompanionBehaviour
    started_at: float
    restarts: int = 0
    asked_at: float | None = None
    signals: int = 0
    gone: trio.Event = field(default_factory=trio.Event)
    opened_at: float | None = None
    is_left: bool = False

    @property
    def is_running(self) -> bool:
        """Whether its process runs now, whichever agent owns it."""
        if self.opened_at is None or self.gone.is_set():
            return False
        asked_until = math.inf if self.asked_at is None else self.asked_at + self.behaviour.stops_after
        return trio.current_time() < min(self.opened_at + self.behaviour.exits_after, asked_until)

    def open_gate(self) -> None:
        assert not self.host.is_killed
        self.opened_at = trio.current_time()
        self.host.check(self)

    def die(self) -> None:
        """Die, as if somebody else had killed it."""
        self.gone.set()

    async def main_changed(self, known: int | None) -> int:
        if self.pid == known:
            await trio.sleep_forever()
        return self.pid

    async def ended(self) -> int | None:
        assert self.opened_at is not None
        with trio.move_on_at(self.opened_at + self.behaviour.exits_after):
            await self.gone.wait()
        return self.behaviour.status

    def last_lines(self) -> list[str]:
        return [f"last words of {self.instance}"]

    def belong_to(self, generation_id: int) -> None:
        self.generation_id = generation_id

    def leave(self) -> None:
        self.is_left = True

    async def end(self, stop_now: trio.Event) -> ExitReport:
        if self.host.is_killed:
            return ExitReport(None, killed=False, left=[])
        if self.asked_at is None:
            self.asked_at = trio.current_time()
            self.signals += 1
        with trio.move_on_at(self.asked_at + self.behaviour.stops_after):
            while self.is_running and not stop_now.is_set():  # noqa: ASYNC110 - virtual time
                await trio.sleep(0.05)
        if self.host.is_killed:
            return ExitReport(None, killed=False, left=[])
        killed = self.is_running
        self.gone.set()
        return ExitReport(-9 if killed else 0, killed=killed, left=[])


class FakeCompanions:
    """The companion processes of a machine: the ``CompanionLauncher`` of tests.

    Attributes:
        companions: all that were ever launched, oldest first.
        companion_behaviours: by name; any other runs until it is asked to end.
        is_killed: whether the agent was killed: nothing that it still does has any effect.
    """

    is_killed = False

    def __init__(self) -> None:
        self.companions: list[FakeCompanion] = []
        self.companion_behaviours: dict[str, CompanionBehaviour] = {}
        self.open_companions = 0

    def check(self, started: FakeCompanion) -> None:
        """Check that a process does not overlap with one that it must not overlap with."""
        for other in self.running():
            if other.instance.name == started.instance.name and other is not started:
                is_sibling = other.plan is started.plan and other.instance != started.instance
                assert is_sibling or started.plan.config.processes[started.instance.name].overlap, "two at once"

    def running(self, name: str | None = None) -> list[FakeCompanion]:
        """Return those that run now."""
        return [one for one in self.companions if one.is_running and name in {None, one.instance.name}]

    @contextlib.asynccontextmanager
    async def launch_companion(
        self, plan: LaunchPlan, generation_id: int, instance: Instance, *, restarts: int, stop_now: trio.Event
    ) -> AsyncIterator[CompanionProcess]:
        if self.is_killed:
            await trio.sleep_forever()  # its task is cancelled; a real one would no longer exist
        behaviour = self.companion_behaviours.get(instance.name, CompanionBehaviour())
        if behaviour.launch_error is not None:
            raise DeployFailed(behaviour.launch_error)
        started_at = EPOCH + trio.current_time()
        pid = 5000 + len(self.companions)
        process = FakeCompanion(self, plan, generation_id, instance, pid, behaviour, started_at, restarts)
        self.companions.append(process)
        async with self._holding_companion(process):
            yield process

    def recorded_companions(self) -> list[RecordedCompanion]:
        return [self._recorded_companion(process) for process in self.companions if self._is_on_record(process)]

    def _is_on_record(self, process: FakeCompanion) -> bool:
        return process.opened_at is not None and not process.gone.is_set()

    def _recorded_companion(self, process: FakeCompanion) -> RecordedCompanion:
        return RecordedCompanion(
            process.instance,
            str(process.pid),
            process.plan,
            process.generation_id,
            process.started_at,
            process.restarts,
            None if process.asked_at is None else trio.current_time() - process.asked_at,
        )

    @contextlib.asynccontextmanager
    async def adopt_companion(self, recorded: RecordedCompanion) -> AsyncIterator[CompanionProcess]:
        process = next(one for one in self.companions if str(one.pid) == recorded.launch)
        process.is_left = False
        async with self._holding_companion(process):
            yield process

    @contextlib.asynccontextmanager
    async def _holding_companion(self, process: FakeCompanion) -> AsyncIterator[None]:
        self.open_companions += 1
        try:
            yield
        finally:
            self.open_companions -= 1
            if not (self.is_killed or process.is_left):
                assert process.gone.is_set(), "a process was left without a record"
