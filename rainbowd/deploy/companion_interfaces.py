"""The protocols between the life of companion processes and the machine, as ``interfaces`` has them for apps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import trio

    from rainbowd.config import ProcessSettings
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.deploy.process import ExitReport


@dataclass(frozen=True, order=True)
class Instance:
    """One of the equal processes that a name in the config stands for.

    Attributes:
        name: the key in ``processes``.
        number: counted from 1.
    """

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}.{self.number}"

    def settings(self, plan: LaunchPlan) -> ProcessSettings:
        """Return its settings in the config that its generation was launched with."""
        return plan.config.processes[self.name]

    def label(self, plan: LaunchPlan) -> str:
        """Return its name for people: without the number if it is the only one."""
        return self.name if self.settings(plan).instances == 1 else str(self)


@dataclass(frozen=True)
class RecordedCompanion:
    """A companion process that an earlier agent recorded; whether it still runs is not known yet.

    Attributes:
        instance: its name and number.
        launch: distinguishes this launch from others of the same instance and generation.
        plan: what it was launched from.
        generation_id: the generation that it belongs to.
        started_at: seconds since the epoch.
        restarts: how often it was started again before.
        asked_for_seconds: how long ago it was asked to end; None if it was not.
    """

    instance: Instance
    launch: str
    plan: LaunchPlan
    generation_id: int
    started_at: float
    restarts: int = 0
    asked_for_seconds: float | None = None


class CompanionProcess(Protocol):
    """The processes of one companion, launched by this agent or an earlier one.

    Attributes:
        pid: of the child that was launched.
        started_at: seconds since the epoch.
    """

    pid: int
    started_at: float

    def open_gate(self) -> None:
        """Let it start: until now it is a record and a process that waits."""

    async def main_changed(self, known: int | None) -> int:
        """Wait until the main process is another one than ``known``, and return its pid."""

    async def ended(self) -> int | None:
        """Wait until its main process has ended; return the exit status: negative for a signal, None if unknown."""

    def last_lines(self) -> list[str]:
        """Return the first and the last lines of its output, oldest first."""

    def belong_to(self, generation_id: int) -> None:
        """Record for a later agent that it belongs to another generation now."""

    def leave(self) -> None:
        """Hand its processes, record and files over to another agent, as they are."""

    async def end(self, stop_now: trio.Event) -> ExitReport:
        """Ask it to end, unless an earlier agent has, kill what is left after ``kill_after``, and reap everything.

        Args:
            stop_now: when set, processes that still run are killed at once.
        """


class CompanionLauncher(Protocol):
    """Everything that the companion processes need of the machine."""

    def launch_companion(
        self, plan: LaunchPlan, generation_id: int, instance: Instance, *, restarts: int, stop_now: trio.Event
    ) -> AbstractAsyncContextManager[CompanionProcess]:
        """Prepare one launch, up to the first instruction; the context reads its output meanwhile.

        Args:
            plan: of the generation.
            generation_id: the generation that it belongs to.
            instance: which process.
            restarts: how often it was started again before, for the record.
            stop_now: when set, processes that still run are killed at once.

        Raises:
            DeployFailed: command not found, directory gone.
        """

    def recorded_companions(self) -> list[RecordedCompanion]:
        """Return the companion processes that an earlier agent recorded; records that cannot be read are ignored."""

    def adopt_companion(self, recorded: RecordedCompanion) -> AbstractAsyncContextManager[CompanionProcess]:
        """Take over a companion process that an earlier agent launched; otherwise like ``launch_companion``."""
