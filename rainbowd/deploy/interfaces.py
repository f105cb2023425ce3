"""The protocols between deciding and doing: everything that touches the machine goes through ``Host`` and ``App``.

``host/host.py`` implements them for Linux; tests use a fake, and run whole deploys on virtual time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import trio

    from rainbowd.address import Address
    from rainbowd.deploy.companion_interfaces import CompanionLauncher
    from rainbowd.deploy.hook_call import HookCall, HookResult
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.deploy.process import ExitReport, Leftovers
    from rainbowd.deploy.records import DeployMemory
    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.report.journal import Event
    from rainbowd.roster import LastCheck, State


@dataclass(frozen=True)
class RecordedGeneration:
    """A generation that an earlier agent recorded; whether any of its processes still run is not known yet.

    Attributes:
        id: of the generation.
        plan: what it was launched from.
        state: its last state, or the state to treat it as.
        for_seconds: how long it has been in that state.
        warm_seconds: how long a standby is kept in total.
        started_at, live_at: seconds since the epoch; ``live_at`` is None if it never was live.
        is_handed_over: whether a running agent hands it over, so that it needs no further check.
    """

    id: int
    plan: LaunchPlan
    state: State
    for_seconds: float
    started_at: float
    live_at: float | None
    warm_seconds: float = 0.0
    is_handed_over: bool = False


@dataclass(frozen=True)
class UndecidedDeploys:
    """Deploys and generations of earlier agents whose end is missing from the journal.

    Attributes:
        deploys: deploy id to the last event that names it.
        generations: generation id to release.
    """

    deploys: Mapping[str, Event] = field(default_factory=dict)
    generations: Mapping[int, str] = field(default_factory=dict)


class App(Protocol):
    """The processes of one generation, launched by this agent or an earlier one.

    Attributes:
        address: on which it accepts connections.
        pid: of the child that was launched.
        last_check: the result of its last health check.
    """

    address: Address
    pid: int
    last_check: LastCheck

    def note(self, state: State, live_at: float | None) -> None:
        """Record for a later agent that it is in ``state`` now, or remove the record if it is retired.

        Args:
            state: of the generation.
            live_at: when it went live, in seconds since the epoch; None if it never did.
        """

    def open_gate(self) -> None:
        """Let the app start: until now it is a record and a process that waits."""

    async def check(self) -> None:
        """Return when it is healthy on a socket of its own.

        An app that an earlier agent launched must only pass one check, within the timeout of a check.

        Raises:
            DeployFailed: it is not healthy in time; the reason contains the last result.
            PortTaken: another program answers on its port.
        """

    async def is_alive(self) -> bool:
        """Return whether any process of it runs."""

    async def main_changed(self, known: int | None) -> int:
        """Wait until the main process is another one than ``known``, and return its pid."""

    async def probe(self) -> str | None:
        """Check its health once; return None if it is healthy, otherwise what was observed."""

    async def ended(self) -> int | None:
        """Wait until no process of it serves; return the exit status: negative for a signal, None if unknown."""

    def port_is_taken(self) -> bool:
        """Return whether another program listens on the port of the app, which has exited."""

    def last_lines(self) -> list[str]:
        """Return the first and the last lines of its output, oldest first."""

    def leave(self) -> None:
        """Hand its processes, record and files over to another agent, as they are."""

    async def end(self, stop_now: trio.Event) -> ExitReport:
        """Stop and reap its remaining processes, check that none is left and remove its files.

        Args:
            stop_now: when set, processes that still run are killed at once.
        """


class DesiredState(Protocol):
    """The files that say what should be live: the config, its env file, the release link and the trigger file."""

    def named_release(self) -> Path | None:
        """Return the release that the files name, resolved; None if they name none."""

    def file_state(self) -> FileState | None:
        """Return the present state of the files; None if it cannot be read."""

    def release_exists(self, release: Path) -> bool:
        """Return whether ``release`` is a directory now."""

    def directory_identity(self, release: Path) -> list[int] | None:
        """Return what distinguishes the directory ``release`` from a later one of the same name; None if missing."""

    def launch_plan(self, release: Path | None = None) -> LaunchPlan:
        """Read the config and the release that the files name.

        Args:
            release: to launch instead of the release that the files name.

        Raises:
            DeployFailed: the config is broken, the release is missing or dangles.
        """


class Launcher(Protocol):
    """The start of an app's processes, and of a hook's."""

    def next_generation_id(self) -> int:
        """Return a generation id that was never used before."""

    def launch(self, plan: LaunchPlan, generation_id: int, stop_now: trio.Event) -> AbstractAsyncContextManager[App]:
        """Prepare one launch of ``plan``, up to the app's first instruction; the context reads its output meanwhile.

        Args:
            plan: what to launch.
            generation_id: the id of the generation.
            stop_now: when set, processes that still run at the end of the context are killed at once.

        Raises:
            DeployFailed: no free port, command not found, directory gone.
        """

    def adopt(self, recorded: RecordedGeneration, stop_now: trio.Event) -> AbstractAsyncContextManager[App]:
        """Take over the processes of a generation that an earlier agent launched; otherwise like ``launch``."""

    async def run_hook(
        self, call: HookCall, cancel: trio.Event, stop_now: trio.Event, on_line: Callable[[str], None]
    ) -> HookResult:
        """Run a hook until it exits, reaches its time limit or ``cancel`` is set; then none of its processes is left.

        Args:
            call: which hook, and what its environment contains.
            cancel: when set, the hook is stopped.
            stop_now: when set, processes that still run after the stop signal are killed at once.
            on_line: called with each line of its output; must not block.
        """


class PreviousRun(Protocol):
    """The state directory as the previous agent left it, and what this agent stores there for the next one."""

    def read_memory(self) -> DeployMemory:
        """Return what the previous agent stored about its deploys."""

    def store_memory(self, memory: DeployMemory) -> None:
        """Store ``memory`` for the next agent."""

    def recorded_generations(self) -> list[RecordedGeneration]:
        """Return the generations that an earlier agent recorded; records that cannot be read are ignored."""

    async def undecided_deploys(self) -> UndecidedDeploys:
        """Return the deploys and generations of earlier agents whose end is missing from the journal."""

    async def find_leftovers(self, spared: Collection[int]) -> Leftovers:
        """Find processes that earlier agents launched and that belong to none of the generations ``spared``."""

    async def end_leftovers(self, leftovers: Leftovers, stop_now: trio.Event) -> None:
        """End ``leftovers``, and remove the files of generations that have no record."""


class Host(Protocol):
    """Everything that the code that decides can do to the machine."""

    @property
    def desired_state(self) -> DesiredState:
        """The files that say what should be live."""

    @property
    def launcher(self) -> Launcher:
        """The start of an app's processes, and of a hook's."""

    @property
    def companion_launcher(self) -> CompanionLauncher:
        """The start of companion processes."""

    @property
    def previous_run(self) -> PreviousRun:
        """The state directory as the previous agent left it."""

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
