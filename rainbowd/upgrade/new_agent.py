"""The new agent, from the start of its process until it is the agent or has failed, as the old agent sees it."""

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
from rainbowd.deploy.process import read_entry, reap, registering, release_status, reserve_status, restore_agent
from rainbowd.errors import RainbowdError
from rainbowd.listeners import UPGRADE_VARIABLE
from rainbowd.log import get_logger
from rainbowd.peers import Channel, encode_leases
from rainbowd.upgrade.messages import FORMAT, HandedOver, Offered, Prepared, Ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import TypeVar

    from rainbowd.peers import Message
    from rainbowd.roster import Roster
    from rainbowd.sighup import Hangup
    from rainbowd.upgrade.received_offer import OfferedSocket

    M = TypeVar("M", bound=Message)

PREPARE_SECONDS = 60.0
"""How long a new agent can take to import everything and to read its config."""
FIRST_SECONDS = 1.0
"""How long it must have run before anything is handed over: a program that crashes usually does so at its start."""
ADOPT_SECONDS = 15.0
"""How long it can take to adopt the generations and to serve on trial, while no agent supervises them."""

_EXIT_SECONDS = 5.0
"""How long a program that closed its channel can take to exit, so that its exit status is known."""
_INIT = 1
_FRAME = " |+-"
"""The characters that Python draws around the traceback of an exception group."""
_OUTPUT_LINES = 50
_OUTPUT_BYTES = 65536
_OF_THIS_PROCESS = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID")
"""Variables in which systemd addresses this process alone."""

log = get_logger()


class UpgradeFailed(RainbowdError):
    """The new process did not become the agent, and the old one continues.

    Args:
        reason: one sentence.
        output: its last lines on stderr, oldest first.
    """

    def __init__(self, reason: str, output: list[str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.output = output or []


class NewAgent:
    """The new agent's process, while it is not the agent yet.

    Args:
        pid: of the process.
        start_time: of the process, as in /proc/PID/stat.
        stderr_fd: the end of a pipe from which its stderr is read.
        channel: to the process.

    Attributes:
        pid: of the process.
        channel: to the process.
    """

    def __init__(self, pid: int, start_time: int, stderr_fd: int, channel: Channel) -> None:
        self.pid = pid
        self.channel = channel
        self._start_time = start_time
        self._started_at = trio.current_time()
        self._pidfd = os.pidfd_open(pid)
        self._stderr_fd = stderr_fd
        self._output = b""
        self._is_released = False

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
        """Offer it the sockets and the lock, and wait until it is prepared to take them over.

        Args:
            lock_fd: of the state directory's lock.
            sockets: the listening sockets.
            state_dir: see ``Offer``.
            soft_limit: see ``Offer``.
            config: see ``Offer``.
            directory: see ``Offer``.

        Raises:
            UpgradeFailed: it exited, or took too long.
        """
        offered = Offered(
            format=FORMAT,
            version=__version__,
            pid=os.getpid(),
            state_dir=str(state_dir),
            soft_limit=soft_limit,
            config=None if config is None else str(config),
            directory=str(directory),
            sockets=[{"asked": socket.asked, "part": socket.part} for socket in sockets],
        )
        descriptors = [lock_fd, sys.stderr.fileno(), *(socket.sock.fileno() for socket in sockets)]
        await self.channel.send(offered, descriptors)
        await self._expect(Prepared, PREPARE_SECONDS)
        with trio.move_on_at(self._started_at + FIRST_SECONDS):
            await trio.lowlevel.wait_readable(self._pidfd)
            raise await self._failure()

    async def hand_over(self, roster: Roster) -> Ready:
        """Hand everything over to it.

        Args:
            roster: has the leases of the old agent, and the live generation.

        Returns:
            Its report that it is the agent.

        Raises:
            UpgradeFailed: it exited, or took too long.
        """
        live = None if roster.live is None else roster.live.id
        await self.channel.send(HandedOver(encode_leases(roster), live))
        ready = await self._expect(Ready, ADOPT_SECONDS)
        if select.select([self._pidfd], [], [], 0)[0]:  # it has exited after its report
            raise await self._failure()
        return ready

    def release(self) -> None:
        """Let the process live on by itself, because it is the agent; nothing reads its stderr from now on."""
        if not self._is_released:
            self._is_released = True
            release_status(self.pid, self._start_time)
            os.close(self._pidfd)
            os.close(self._stderr_fd)

    async def kill(self) -> None:
        """Kill the process and reap it, unless it was released."""
        if not self._is_released:
            with trio.CancelScope(shield=True):  # short, because SIGKILL ends it
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                await trio.lowlevel.wait_readable(self._pidfd)
            reap(self.pid, self._start_time)
            self.release()
            self.channel.close()

    async def _expect(self, kind: type[M], seconds: float) -> M:
        message: M | None = None
        with trio.move_on_after(seconds) as deadline:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_output)
                with contextlib.suppress(EOFError):
                    message, _ = await self.channel.expect(kind)
                nursery.cancel_scope.cancel()
        if message is not None:
            return message
        if deadline.cancelled_caught:
            raise UpgradeFailed(f"the new agent was not {kind.kind} within {seconds:g} s", self._last_lines())
        raise await self._failure()

    async def _read_output(self) -> None:
        """Read its stderr, because it blocks when the pipe is full."""
        while True:
            await trio.lowlevel.wait_readable(self._stderr_fd)
            with contextlib.suppress(BlockingIOError):
                if not self._read_once():
                    return

    async def _failure(self) -> UpgradeFailed:
        """Return why it closed the channel: usually because it exited."""
        with trio.move_on_after(_EXIT_SECONDS):
            await trio.lowlevel.wait_readable(self._pidfd)
        status = reap(self.pid, self._start_time)
        lines = self._last_lines()
        what = "closed its channel" if status is None else _describe(status)
        text = [line.strip(_FRAME) for line in lines if line.strip(_FRAME)]
        return UpgradeFailed(f"the new agent {what}{': ' + text[-1] if text else ''}", lines)

    def _last_lines(self) -> list[str]:
        """Return the last lines that it has written to stderr."""
        with contextlib.suppress(BlockingIOError):
            while self._read_once():
                pass
        return self._output.decode(errors="backslashreplace").splitlines()[-_OUTPUT_LINES:]

    def _read_once(self) -> bool:
        """Read once from stderr; return False at its end."""
        chunk = os.read(self._stderr_fd, _OUTPUT_BYTES)
        self._output = (self._output + chunk)[-_OUTPUT_BYTES:]
        return bool(chunk)


@contextlib.asynccontextmanager
async def start_new_agent(hangup: Hangup, directory: Path) -> AsyncIterator[NewAgent]:
    """Start the program of this agent as it is installed now, with the same arguments.

    The process is killed at the end of the context, unless it was released.

    Args:
        hangup: what SIGHUP means to this agent, and so to the new one.
        directory: in which the agent was started; the process starts there too, if it still exists.

    Raises:
        UpgradeFailed: it cannot be started.
    """
    if os.getpid() == _INIT:
        raise UpgradeFailed(
            "cannot upgrade in place: rainbowd is PID 1 of this container, and the container would stop with it; "
            "restart the container instead"
        )
    with hangup.inherited():
        new_agent = _start(directory)
    try:
        yield new_agent
    finally:
        await new_agent.kill()


def _start(directory: Path) -> NewAgent:
    channel, theirs = Channel.pair()
    stderr_fd, their_stderr = os.pipe()
    os.set_blocking(stderr_fd, False)
    env = {name: value for name, value in os.environ.items() if name not in _OF_THIS_PROCESS}
    command = installed_command(directory)
    try:
        with registering:
            child = subprocess.Popen(
                command,
                env={**env, UPGRADE_VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                cwd=directory if directory.is_dir() else "/",
                stderr=their_stderr,
            )
            child.returncode = 0  # it is reaped here, Popen must not
            restore_agent(child.pid)  # it lowers its own when it is the agent
            entry = read_entry(child.pid)
            assert entry is not None, "a child has its entry until it is reaped"
            reserve_status(child.pid, entry.start_time)
    except OSError as error:
        channel.close()
        os.close(stderr_fd)
        raise UpgradeFailed(f"cannot start {command[0]}: {_reason(command[0], error)}") from None
    finally:
        theirs.close()
        os.close(their_stderr)
    return NewAgent(child.pid, entry.start_time, stderr_fd, channel)


def installed_command(directory: Path) -> list[str]:
    """Return the command of this agent, as it must be run to start the installed version.

    A script is run as itself, by the interpreter that it names: if it is reached through a link to an environment, that
    can be another one now.

    Args:
        directory: in which the agent was started.
    """
    argv = sys.orig_argv[1:]
    if argv[:1] == sys.argv[:1]:
        script = directory / argv[0]
        if os.access(script, os.X_OK) and script.read_bytes()[:2] == b"#!":
            return [str(script), *argv[1:]]
    return [sys.executable, *argv]


def _reason(program: str, error: OSError) -> str:
    """Return why a program could not be started; if the program is a script that exists, its interpreter is missing."""
    with contextlib.suppress(OSError):
        first = Path(program).read_bytes().partition(b"\n")[0]
        if isinstance(error, FileNotFoundError) and first.startswith(b"#!"):
            return f"{error.strerror}: its interpreter {os.fsdecode(first[2:].strip())}"
    return str(error.strerror)


def _describe(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
