"""The process of the agent, checked before a command signals it.

The pid in ``lock`` is a number that the owner of the file wrote.  A command that root runs must not signal any other
process that has that number, so the process itself is checked first.  A pidfd refers to that process alone, even if its
number is reused between the check and the signal (pidfd_open(2), pidfd_send_signal(2)).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import require_agent
from rainbowd.errors import RainbowdError
from rainbowd.report import agent_pid_file
from rainbowd.report.lock import LOCK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOT = 0
_MILLISECONDS = 1000


class AgentProcess:
    """The process of a running agent, checked when it was opened.

    Args:
        pid: its number.
        pidfd: a descriptor of it; the caller closes it.
        verb: what the command does to the agent, for messages: ``stop``.
    """

    def __init__(self, pid: int, pidfd: int, verb: str) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._verb = verb

    def require_permission(self) -> None:
        """Check that this user may signal the agent: pidfd_send_signal(2) checks it for 0, and sends nothing.

        Raises:
            RainbowdError: this user may not, or the agent has ended.
        """
        self.send(0)

    def send(self, signum: int) -> None:
        """Send a signal to the agent.

        Raises:
            RainbowdError: this user may not, or the agent has ended.
        """
        try:
            signal.pidfd_send_signal(self._pidfd, signum)
        except PermissionError:
            raise RainbowdError(
                f"cannot {self._verb} the agent (pid {self.pid}): it belongs to {_account(self.pid)}; "
                f"run this as that user or as root"
            ) from None
        except ProcessLookupError:
            raise RainbowdError(f"cannot {self._verb} the agent (pid {self.pid}): it has ended") from None

    def handles(self, signum: signal.Signals) -> bool:
        """Return whether the agent catches ``signum``, and so would not die of it: proc(5), SigCgt."""
        caught = _status(self.pid).get("SigCgt", ["0"])
        return bool(int(caught[0], 16) >> (signum - 1) & 1)

    def has_ended(self, within_seconds: float = 0.0) -> bool:
        """Return whether the process has ended, or does within ``within_seconds``."""
        poll = select.poll()  # not select(): a descriptor may be above 1023
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(within_seconds * _MILLISECONDS))


@contextlib.contextmanager
def open_agent(state_dir: Path, verb: str) -> Iterator[AgentProcess]:
    """Open the process of the agent that runs with ``state_dir``, after checking that it is the agent.

    Args:
        state_dir: whose ``lock`` names the process.
        verb: what the command does to the agent, for messages: ``stop``.

    Raises:
        NotRunning: no agent is running.
        RainbowdError: the process that ``lock`` names is not an agent of this state directory.
    """
    pid = require_agent(state_dir)
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        raise _refusal(verb, pid, "there is no such process") from None
    try:
        agent = AgentProcess(pid, pidfd, verb)
        agent.require_permission()
        _check(pid, state_dir / LOCK_NAME, verb)
        yield agent
    finally:
        os.close(pidfd)


def _refusal(verb: str, pid: int, reason: str) -> RainbowdError:
    """Return the error for a process that ``lock`` names and that is not known to be the agent."""
    return RainbowdError(f"cannot {verb} the agent: its lock names pid {pid}, but {reason}; nothing was signalled")


def _check(pid: int, lock: Path, verb: str) -> None:
    """Check that the process belongs to the lock's owner, and has the lock open.

    Every account of the process must be the owner's, because a set-user-ID program is not the owner's alone.  A user
    who owns the process and the lock may signal the process anyway, so only root needs more evidence than that.
    """
    owner = lock.lstat().st_uid
    accounts = {int(uid) for uid in _status(pid).get("Uid", [])}
    if not accounts:
        raise _refusal(verb, pid, "/proc does not show that process")
    if accounts != {owner}:
        raise _refusal(verb, pid, "that process does not belong to the owner of the lock")
    found = agent_pid_file.read(lock.parent)
    if found is not None and found[0].pid == pid:
        agent, writer = found
        if writer != owner or not agent.is_alive(owner):
            raise _refusal(verb, pid, f"that process is not the one that {agent_pid_file.NAME} describes")
        program = agent_pid_file.executable(pid)  # hidden from its own user if the process has capabilities: ptrace(2)
        if program != agent.executable and (program or os.geteuid() == ROOT):
            raise _refusal(verb, pid, f"that process does not run {agent.executable}")
    if os.geteuid() == ROOT and not _has_open(pid, lock):
        raise _refusal(verb, pid, "that process does not have the lock open")


def _status(pid: int) -> dict[str, list[str]]:
    """Return the fields of a process's status, none if it has ended: proc(5), status."""
    try:
        with open(f"/proc/{pid}/status", errors="replace") as status:  # noqa: PTH123 - pathlib is not needed for this
            return {name: value.split() for name, _, value in (line.partition(":") for line in status)}
    except OSError:
        return {}


def _has_open(pid: int, file: Path) -> bool:
    """Return whether a process has ``file`` open, whatever name it opened it by: proc(5), fd."""
    directory = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        wanted = file.lstat()
        for name in os.listdir(directory):  # noqa: PTH208 - pathlib is not needed for this
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(f"{directory}/{name}"), wanted):  # noqa: PTH116 - the same
                    return True
    return False


def _account(pid: int) -> str:
    import pwd

    try:
        uid = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 - pathlib is not needed for this
        return pwd.getpwuid(uid).pw_name
    except OSError:
        return "another user"
    except KeyError:
        return f"user {uid}"
