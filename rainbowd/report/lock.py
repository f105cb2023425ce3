"""The lock of a state directory, which one agent holds, and the search for its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from rainbowd.errors import Unwritable, UsageError
from rainbowd.report import agent_pid_file
from rainbowd.report.lost_lock import find_agent_without_lock
from rainbowd.report.state_dir import SECRET_MODE, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_NAME = "lock"

PATIENCE_SECONDS = 0.5
"""How long to retry: a command that searches for the holder has a shared lock for a moment."""
TRY_SECONDS = 0.01

_PID_BYTES = 32


class Lock:
    """The lock that makes a process the only agent of a state directory, until the process ends: flock(2).

    Only the agent's user can open the file: anyone who can open a file can lock it, and a reader must not be able to
    keep an agent from starting.  Readers find the agent in ``agent.json``.

    Args:
        fd: of the locked file.
        state_dir: the directory of the file.
        config: the agent's config file, for ``agent.json``.
    """

    def __init__(self, fd: int, state_dir: Path, config: Path | None = None) -> None:
        self._fd = fd
        self._state_dir = state_dir
        self.config = config
        self._is_ours = False

    @classmethod
    def acquire(cls, state_dir: Path, config: Path | None = None) -> Lock:
        """Take the lock, and record this process as the agent.

        Args:
            state_dir: the directory of the lock.
            config: see the class.

        Raises:
            UsageError: another agent holds the lock, or the file cannot be written.
        """
        path = state_dir / LOCK_NAME
        with _errors_of(path):
            fd = open_file(path, os.O_RDWR, mode=SECRET_MODE)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(os.close, fd)
            with _errors_of(path):
                _lock(fd, state_dir, config)
                pid = find_agent_without_lock(path, config)
                if pid is not None:
                    raise _taken_error(state_dir, pid, config)
                # Overwrite the pid of a killed agent in place: a full disk has no room for another block.
                os.pwrite(fd, b" " * min(os.fstat(fd).st_size, _PID_BYTES), 0)
                lock = cls(fd, state_dir, config)
                lock.claim()
            on_failure.pop_all()
        return lock

    def fileno(self) -> int:
        """Return the descriptor that holds the lock; a process that inherits it shares the lock: flock(2)."""
        return self._fd

    def claim(self) -> None:
        """Record this process as the agent; for a moment, a reader may find none.

        Raises:
            OSError: as pwrite(2).
        """
        self._is_ours = True
        line = b"%d\n" % os.getpid()
        os.pwrite(self._fd, line, 0)
        os.ftruncate(self._fd, len(line))
        with contextlib.suppress(OSError):  # for readers only; the agent writes it again as soon as it can
            agent_pid_file.write(self._state_dir, agent_pid_file.current_identity(self.config))

    def is_lost(self) -> bool:
        """Return whether the locked file was removed or replaced.

        Raises:
            OSError: this cannot be checked now.
        """
        if self._fd < 0 or not self._is_ours:
            return False
        try:
            current = (self._state_dir / LOCK_NAME).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        return not os.path.samestat(current, os.fstat(self._fd))

    def is_recorded(self) -> bool:
        """Return whether ``agent.json`` names this process."""
        if self._fd < 0 or not self._is_ours:
            return True
        with contextlib.suppress(OSError):
            found = agent_pid_file.read(self._state_dir)
            return found is not None and found[0].pid == os.getpid()
        return False

    def retake(self) -> None:
        """Lock the file that is at the path now, or a new one; the descriptor keeps its number.

        Raises:
            UsageError: another agent holds the lock.
            OSError: as open(2).
        """
        fd = open_file(self._state_dir / LOCK_NAME, os.O_RDWR, mode=SECRET_MODE)
        try:
            _lock(fd, self._state_dir, self.config)
            os.dup2(fd, self._fd, inheritable=False)
        finally:
            os.close(fd)
        self.claim()

    def hand_over(self) -> None:
        """Close this process's descriptor; the agent that shares the lock keeps it."""
        os.close(self._fd)
        self._fd = -1

    def release(self) -> None:
        """Release the lock; the file stays, because another agent may have opened it already."""
        if self._fd < 0:
            return
        if self._is_ours:
            os.ftruncate(self._fd, 0)
            if not self.is_lost():
                with contextlib.suppress(OSError):
                    (self._state_dir / agent_pid_file.NAME).unlink()
        os.close(self._fd)
        self._fd = -1


def holder(state_dir: Path) -> int | None:
    """Return the pid of the running agent; None if no agent is running.

    For users who cannot open the lock, such as members of the directory's group, ``agent.json`` names the agent.

    Args:
        state_dir: the directory of the lock.

    Raises:
        UsageError: this cannot be determined.
    """
    path = state_dir / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        return _read_identity(state_dir)
    except OSError as error:
        raise Unwritable(str(path), error) from None
    try:
        with _errors_of(path):
            return _holder(fd, path)
    finally:
        os.close(fd)


def _read_identity(state_dir: Path) -> int | None:
    """Return the pid of the running agent that ``agent.json`` names."""
    path = state_dir / agent_pid_file.NAME
    try:
        found = agent_pid_file.running_agent(state_dir)
    except PermissionError:
        raise UsageError(f"{path}: permission denied: you must be its owner, or a member of its group") from None
    except OSError as error:
        raise Unwritable(str(path), error) from None
    return found.pid if found is not None else None


def _taken_error(state_dir: Path, pid: int | str, config: Path | None) -> UsageError:
    """Return the error for a state directory that another agent uses, with advice."""
    found = None
    with contextlib.suppress(OSError):
        found = agent_pid_file.running_agent(state_dir)
    theirs = found.config if found is not None and found.pid == pid else ""
    if config is not None and theirs == str(config):
        advice = "it runs with this config: to replace it, use `rainbowd upgrade`, or stop it first"
    elif theirs:
        advice = f"it runs with {theirs}: give each config a state_dir of its own"
    else:
        advice = "stop that agent, or give this config a state_dir of its own"
    return UsageError(f"state_dir: {state_dir}: another agent (pid {pid}) is running with it; {advice}")


def _lock(fd: int, state_dir: Path, config: Path | None) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _try(fd, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            raise _taken_error(state_dir, _pid(fd) or "unknown", config)
        time.sleep(TRY_SECONDS)


def _holder(fd: int, path: Path) -> int | None:
    """Return the pid of the process that holds the lock; it may write its pid only a moment after it has locked."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _try(fd, fcntl.LOCK_SH):
        pid = _pid(fd)
        if pid is not None:
            return pid
        if time.monotonic() >= deadline:
            raise UsageError(f"{path}: locked by a process that wrote no pid into it; expected a rainbowd agent")
        time.sleep(TRY_SECONDS)
    return None


def _try(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(fd: int) -> int | None:
    text = os.pread(fd, _PID_BYTES, 0).strip()
    return int(text) if text.isdigit() and int(text) > 0 else None


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Translate errors of the system into ones that name the file."""
    try:
        yield
    except OSError as error:
        raise Unwritable(str(path), error) from None
