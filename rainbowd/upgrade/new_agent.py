"""The new program that an upgrade starts, until it is the agent or has failed to be."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd import __version__
from rainbowd.deploy.process import await_status, let_go, read_entry, reap, registering, restore_agent
from rainbowd.errors import RainbowdError
from rainbowd.log import get_logger
from rainbowd.upgrade.channel import Channel
from rainbowd.upgrade.leases import tell_leases
from rainbowd.upgrade.offer import FORMAT, VARIABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rainbowd.hangup import Hangup
    from rainbowd.roster import Roster
    from rainbowd.upgrade.channel import Message
    from rainbowd.upgrade.offer import OfferedSocket

PREPARE_SECONDS = 60.0
"""For the new program to import all it needs and to read its config."""
FIRST_SECONDS = 1.0
"""How long it has to have run before anything is left to it: a program that crashes does so at its start."""
ADOPT_SECONDS = 15.0
"""For it to adopt what is live, and to see whether that goes well, while nobody else looks after that."""

_END_SECONDS = 5.0
"""For a program that has hung up to end, so that it can be said how."""
_INIT = 1
_FRAME = " |+-"
"""What Python draws around the traceback of an exception group."""
_OUTPUT_LINES = 50
_OUTPUT_BYTES = 65536
_OF_THIS_PROCESS = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID")
"""What systemd told this process alone."""

log = get_logger()


class UpgradeFailed(RainbowdError):
    """The new program did not become the agent; nothing has changed.

    Args:
        reason: what it came to, in one sentence.
        output: its last lines on stderr, oldest first.
    """

    def __init__(self, reason: str, output: list[str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.output = output or []


class NewAgent:
    """The new program, while it is not the agent yet.

    Attributes:
        pid: its process.
    """

    def __init__(self, pid: int, start_time: int, stderr_fd: int, link: Channel) -> None:
        self.pid = pid
        self.link = link
        self._start_time = start_time
        self._started_at = trio.current_time()
        self._pidfd = os.pidfd_open(pid)
        self._stderr_fd = stderr_fd
        self._output = b""
        self._is_over = False

    async def prepare(
        self,
        lock_fd: int,
        sockets: Sequence[OfferedSocket],
        *,
        state_dir: Path,
        soft_limit: int,
        config: Path | None,
        directory: Path,
    ) -> None:
        """Offer it what it is to take over; returns when it could.

        Args:
            lock_fd: of the state directory's lock.
            sockets: those that listen.
            state_dir: see ``Offer``.
            soft_limit: see ``Offer``.
            config: see ``Offer``.
            directory: see ``Offer``.

        Raises:
            UpgradeFailed: it ended, or takes too long.
        """
        await self.link.send(
            "offer",
            [lock_fd, sys.stderr.fileno(), *(one.sock.fileno() for one in sockets)],
            format=FORMAT,
            version=__version__,
            pid=os.getpid(),
            state_dir=state_dir,
            soft_limit=soft_limit,
            config=config,
            directory=directory,
            sockets=[{"asked": one.asked, "part": one.part} for one in sockets],
        )
        await self._expect("prepared", PREPARE_SECONDS)
        with trio.move_on_at(self._started_at + FIRST_SECONDS):
            await trio.lowlevel.wait_readable(self._pidfd)
            raise await self._failure()

    async def hand_over(self, roster: Roster) -> Message:
        """Tell it that all is its own now; returns what it says when it is the agent.

        Raises:
            UpgradeFailed: it ended, or takes too long.
        """
        live = None if roster.live is None else roster.live.id
        await self.link.send("yours", leases=tell_leases(roster), live=live)
        ready = await self._expect("ready", ADOPT_SECONDS)
        if select.select([self._pidfd], [], [], 0)[0]:  # those were its last words
            raise await self._failure()
        return ready

    def release(self) -> None:
        """It is the agent: who it is, and what it says, is its own business from now on."""
        if not self._is_over:
            self._is_over = True
            let_go(self.pid, self._start_time)
            os.close(self._pidfd)
            os.close(self._stderr_fd)

    async def end(self) -> None:
        """End it and reap it, unless it is released."""
        if not self._is_over:
            with trio.CancelScope(shield=True):  # bounded, as it is killed
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                await trio.lowlevel.wait_readable(self._pidfd)
            reap(self.pid, self._start_time)
            self.release()
            self.link.close()

    async def _expect(self, kind: str, seconds: float) -> Message:
        message: Message | None = None
        with trio.move_on_after(seconds) as patience:
            async with trio.open_nursery() as beside:
                beside.start_soon(self._listen)
                with contextlib.suppress(EOFError):
                    message, _ = await self.link.expect(kind)
                beside.cancel_scope.cancel()
        if message is not None:
            return message
        if patience.cancelled_caught:
            raise UpgradeFailed(f"the new program is not {kind} after {seconds:g} s", self._last_lines())
        raise await self._failure()

    async def _listen(self) -> None:
        """Read what it writes to stderr, as it may not go on before that is read."""
        while True:
            await trio.lowlevel.wait_readable(self._stderr_fd)
            with contextlib.suppress(BlockingIOError):
                if not self._read_once():
                    return

    async def _failure(self) -> UpgradeFailed:
        """Why it hung up: as a rule because it ended."""
        with trio.move_on_after(_END_SECONDS):
            await trio.lowlevel.wait_readable(self._pidfd)
        status = reap(self.pid, self._start_time)
        lines = self._last_lines()
        how = "hung up" if status is None else f"ended with {_describe(status)}"
        said = [line.strip(_FRAME) for line in lines if line.strip(_FRAME)]
        return UpgradeFailed(f"the new program {how}{': ' + said[-1] if said else ''}", lines)

    def _last_lines(self) -> list[str]:
        """What it wrote to stderr, as far as it is there by now."""
        with contextlib.suppress(BlockingIOError):
            while self._read_once():
                pass
        return self._output.decode(errors="backslashreplace").splitlines()[-_OUTPUT_LINES:]

    def _read_once(self) -> bool:
        """Whether there was something, or may be later."""
        chunk = os.read(self._stderr_fd, _OUTPUT_BYTES)
        self._output = (self._output + chunk)[-_OUTPUT_BYTES:]
        return bool(chunk)


@contextlib.asynccontextmanager
async def new_program(hangup: Hangup, directory: Path) -> AsyncIterator[NewAgent]:
    """Start our own program, as it is installed by now, with our arguments; what is not released in the end is ended.

    Args:
        hangup: what HUP means to us, and so to it.
        directory: where the agent was started, and the program is again if it is there still.

    Raises:
        UpgradeFailed: it cannot be started.
    """
    if os.getpid() == _INIT:
        raise UpgradeFailed("rainbowd is process 1 here, and its end would be the container's; restart that instead")
    with hangup.inherited():
        program = _start(directory)
    try:
        yield program
    finally:
        await program.end()


def _start(directory: Path) -> NewAgent:
    link, theirs = Channel.pair()
    stderr_fd, its_stderr = os.pipe()
    os.set_blocking(stderr_fd, False)
    env = {name: value for name, value in os.environ.items() if name not in _OF_THIS_PROCESS}
    command = _command(directory)
    try:
        with registering:
            child = subprocess.Popen(
                command,
                env={**env, VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                cwd=directory if directory.is_dir() else "/",
                stderr=its_stderr,
            )
            child.returncode = 0  # it is reaped here, Popen must not
            restore_agent(child.pid)  # it lowers its own when it is the agent
            entry = read_entry(child.pid)
            assert entry is not None, "a child has its entry until it is reaped"
            await_status(child.pid, entry.start_time)
    except OSError as error:
        link.close()
        os.close(stderr_fd)
        raise UpgradeFailed(f"cannot start {command[0]}: {_why_not_started(command[0], error)}") from None
    finally:
        theirs.close()
        os.close(its_stderr)
    return NewAgent(child.pid, entry.start_time, stderr_fd, link)


def _command(directory: Path) -> list[str]:
    """Our own, as it would be run now.

    A script is run as itself, by the interpreter that it names: where it is reached over a link to an environment,
    that may be another by now.
    """
    words = sys.orig_argv[1:]
    if words[:1] == sys.argv[:1]:
        script = directory / words[0]
        if os.access(script, os.X_OK) and script.read_bytes()[:2] == b"#!":
            return [str(script), *words[1:]]
    return [sys.executable, *words]


def _why_not_started(program: str, error: OSError) -> str:
    """Return why a program could not be started; of a script that is there it is the interpreter that is missing."""
    with contextlib.suppress(OSError):
        first = Path(program).read_bytes().partition(b"\n")[0]
        if isinstance(error, FileNotFoundError) and first.startswith(b"#!"):
            return f"{error.strerror}: its interpreter {os.fsdecode(first[2:].strip())}"
    return str(error.strerror)


def _describe(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
