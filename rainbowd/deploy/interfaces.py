"""The one seam between deciding and doing: all that the supervisor does to the world goes through ``Host``.

``world.py`` is the real one; tests put a fake in its place and run whole deploys on virtual time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import trio

    from rainbowd.address import Address
    from rainbowd.config import Config
    from rainbowd.deploy.process import ExitReport, Leftovers
    from rainbowd.deploy.records import DeployMemory
    from rainbowd.deploy.watch.file_state import FileState
    from rainbowd.report.journal import Event
    from rainbowd.roster import State


HookName = Literal["before_launch", "after_live", "after_failure"]

INTERRUPTED = "interrupted: the agent stops"
"""Why a deploy or a candidate failed that was undecided at a stop."""
KILLED = "interrupted: the agent was killed"
"""The same, told by the next agent."""


class PortTaken(DeployFailed):
    """The candidate could not have its port, which a stranger holds; another port may do.

    Args:
        reason: what was seen, in one sentence.
        holder: the stranger's command, without numbers; empty if it is not known.
    """

    def __init__(self, reason: str, *, holder: str = "") -> None:
        super().__init__(reason)
        self.holder = holder


class Superseded(DeployFailed):
    """The files name another release before the deploy was decided.

    Attributes:
        release: which; None if they name none any more.
    """

    def __init__(self, release: Path | None) -> None:
        super().__init__(f"superseded by {release}")
        self.release = release


@dataclass(frozen=True)
class LaunchPlan:
    """What a generation is launched from, and launched from again should it die: nothing is read a second time.

    Attributes:
        release: the resolved directory.
        config: as the file was when the deploy began.
        env_file: the variables of ``env_file``, as they were then.
        source: the config as JSON has it, for a later agent.
    """

    release: Path
    config: Config
    env_file: Mapping[str, str]
    source: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftGeneration:
    """A generation that an earlier agent left on record; whether anything of it runs is not known yet.

    Attributes:
        plan: by which it was launched.
        state: which it was in last, or is to be treated as.
        for_seconds: how long it has been in that state.
        warm_seconds: how long a standby is kept in all.
        started_at, live_at: seconds since the epoch; ``live_at`` is None where it never was live.
        is_handed_over: by an agent that looked after it until now, so that it needs no proof.
    """

    number: int
    plan: LaunchPlan
    state: State
    for_seconds: float
    started_at: float
    live_at: float | None
    warm_seconds: float = 0.0
    is_handed_over: bool = False


@dataclass(frozen=True)
class UndecidedDeploys:
    """What the journal tells the beginning of and not the end, from before this agent.

    Attributes:
        deploys: id to the last event that names it.
        generations: number to release.
    """

    deploys: Mapping[str, Event] = field(default_factory=dict)
    generations: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HookCall:
    """One run of one hook.

    Attributes:
        hook: its key in the config.
        plan: with its command; it runs in this release.
        deploy: the deploy's id.
        generation: the number of the candidate; None where the deploy failed before it had one.
        address: where that is reached; None where it is not.
        release: what was to be deployed; None where the files name nothing.
        previous_release: what was live before; None for nothing.
        trigger, note: of the deploy.
        is_rollback: the deploy goes back to a release that was live before.
        reason: why it failed.
    """

    hook: HookName
    plan: LaunchPlan
    deploy: str
    generation: int | None
    address: Address | None
    release: Path | None
    previous_release: Path | None
    trigger: str
    note: str | None
    is_rollback: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class HookResult:
    """How a hook ended.

    Attributes:
        exit_status: negative for a signal, None if unknown.
        output: its last lines, oldest first.
        failure: what went wrong, in words; None where nothing did.
    """

    exit_status: int | None
    output: list[str]
    failure: str | None


class App(Protocol):
    """The processes of one generation, whoever launched it.

    Attributes:
        address: where it is reached.
        pid: the child that was launched.
    """

    address: Address
    pid: int

    @property
    def last_check(self) -> str | None:
        """What the last health check got, such as ``503 Service Unavailable``; None before the first."""

    def note(self, state: State, live_at: float | None) -> None:
        """Put on record for a later agent that it is in ``state`` now; retired, it has no record any more."""

    def open_gate(self) -> None:
        """Let it run: until now it is a record and a waiting process."""

    async def check(self) -> None:
        """Return once it is healthy on a socket of its own; one that was launched before has less time for that.

        Raises:
            DeployFailed: it is not in time; the reason says what was last seen.
            PortTaken: a stranger answers on its port.
        """

    async def is_alive(self) -> bool:
        """Whether anything of it runs."""

    async def main_changed(self, known: int | None) -> int:
        """Wait until the main process is another one than ``known``; its number."""

    async def probe(self) -> str | None:
        """Ask once for its health; None where it is well, else what was seen."""

    async def ended(self) -> int | None:
        """Wait until nothing of it serves any more; the exit status, negative for a signal, None if unknown."""

    def port_is_taken(self) -> bool:
        """Whether a stranger listens where the app, which has exited, was to listen."""

    def last_lines(self) -> list[str]:
        """Return the first and the last lines of its output, oldest first."""

    def leave(self) -> None:
        """Leave it, its record and its files as they are to another agent."""

    async def end(self, hurry: trio.Event) -> ExitReport:
        """Stop what is left of it, reap it, look that nothing is left and remove its files.

        Args:
            hurry: no more patience once this is set.
        """


class Host(Protocol):
    """What the supervisor can do."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def named(self) -> Path | None:
        """The release that the files name, resolved; None where there is none."""

    def look(self) -> FileState | None:
        """What the files look like now; None where that cannot be told."""

    def is_there(self, release: Path) -> bool:
        """Whether ``release`` is a directory now."""

    def identity(self, release: Path) -> list[int] | None:
        """What tells the directory ``release`` from one that is made again in its place; None if there is none."""

    def plan(self, release: Path | None = None) -> LaunchPlan:
        """Read the config and what the files name.

        Args:
            release: to launch instead of what the files name.

        Raises:
            DeployFailed: the config is broken, the release is missing or dangles.
        """

    def next_number(self) -> int:
        """A generation's number, never given out before."""

    def launch(self, plan: LaunchPlan, number: int, hurry: trio.Event) -> AbstractAsyncContextManager[App]:
        """Prepare one launch of ``plan``, in front of its gate; the context reads its output meanwhile.

        Args:
            plan: what to launch.
            number: the generation's.
            hurry: no more patience once this is set.

        Raises:
            DeployFailed: no free port, command not found, directory gone.
        """

    def recall(self) -> DeployMemory:
        """What the last agent remembered."""

    def remember(self, memory: DeployMemory) -> None:
        """Keep it for the next agent."""

    def left(self) -> list[LeftGeneration]:
        """The generations that an earlier agent left on record; what is no record is as if it were not there."""

    def adopt(self, left: LeftGeneration, hurry: trio.Event) -> AbstractAsyncContextManager[App]:
        """Take over what is left of a generation, as ``launch`` does what it launches."""

    async def undecided(self) -> UndecidedDeploys:
        """What the journal of the agents before says was begun and not ended."""

    async def find_strays(self, spared: Collection[int]) -> Leftovers:
        """The processes that are ours by their mark alone, and of none of the generations ``spared``."""

    async def end_strays(self, strays: Leftovers, hurry: trio.Event) -> None:
        """End them, and remove the files of generations that have no record."""

    async def run_hook(
        self, call: HookCall, drop: trio.Event, hurry: trio.Event, tell: Callable[[str], None]
    ) -> HookResult:
        """Run a hook to its end, which comes at its time limit or once ``drop`` is set; nothing of it is left then.

        Args:
            call: which, and what it is told.
            drop: it is not to go on.
            hurry: no patience with what does not end once it is told to.
            tell: is given each line of its output as it comes; must not block.
        """
