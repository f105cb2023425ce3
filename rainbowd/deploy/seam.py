"""The one seam between deciding and doing: all that the supervisor does to the world goes through ``World``.

``world.py`` is the real one; tests put a fake in its place and run whole deploys on virtual time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import trio

    from rainbowd.address import Address
    from rainbowd.config import Config
    from rainbowd.deploy.process import Ending


HookName = Literal["before_launch", "after_live", "after_failure"]

INTERRUPTED = "interrupted: the agent stops"
"""Why a deploy or a candidate failed that was undecided at a stop."""


class PortTaken(DeployFailed):
    """The candidate could not have its port, which a stranger holds; another port may do."""


@dataclass(frozen=True)
class Plan:
    """What a generation is launched from, and launched from again should it die: nothing is read a second time.

    Attributes:
        release: the resolved directory.
        config: as the file was when the deploy began.
        env_file: the variables of ``env_file``, as they were then.
    """

    release: Path
    config: Config
    env_file: Mapping[str, str]


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
        reason: why it failed.
    """

    hook: HookName
    plan: Plan
    deploy: str
    generation: int | None
    address: Address | None
    release: Path | None
    previous_release: Path | None
    trigger: str
    note: str | None
    reason: str | None = None


@dataclass(frozen=True)
class HookEnding:
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
    """The processes of one launch.

    Attributes:
        address: where it is reached.
        pid: the child that was launched.
    """

    address: Address
    pid: int

    def open_gate(self) -> None:
        """Let it run: until now it is a record and a waiting process."""

    async def check(self) -> None:
        """Return once it is healthy on a socket of its own.

        Raises:
            DeployFailed: it is not in time; the reason says what was last seen.
            PortTaken: a stranger answers on its port.
        """

    async def ended(self) -> int | None:
        """Wait until nothing of it serves any more; the exit status, negative for a signal, None if unknown."""

    def port_is_taken(self) -> bool:
        """Whether a stranger listens where the app, which has exited, was to listen."""

    def last_lines(self) -> list[str]:
        """The end of its output, oldest line first."""

    async def end(self, hurry: trio.Event) -> Ending:
        """Stop what is left of it, reap it, look that nothing is left and remove its files.

        Args:
            hurry: no more patience once this is set.
        """


class World(Protocol):
    """What the supervisor can do."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def named(self) -> Path | None:
        """The release that the files name, resolved; None where there is none."""

    def plan(self) -> Plan:
        """Read the config and what the files name.

        Raises:
            DeployFailed: the config is broken, the release is missing or dangles.
        """

    def next_number(self) -> int:
        """A generation's number, never given out before."""

    def launch(self, plan: Plan, number: int) -> AbstractAsyncContextManager[App]:
        """Prepare one launch of ``plan``, in front of its gate; the context reads its output meanwhile.

        Raises:
            DeployFailed: no free port, command not found, directory gone.
        """

    async def run_hook(self, call: HookCall, drop: trio.Event, hurry: trio.Event) -> HookEnding:
        """Run a hook to its end, which comes at its time limit or once ``drop`` is set; nothing of it is left then.

        Args:
            call: which, and what it is told.
            drop: it is not to go on.
            hurry: no patience with what does not end once it is told to.
        """
