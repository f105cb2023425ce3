"""The lock of a state directory: one agent has it, and others find out which."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from rainbowd.errors import Unwritable, UsageError
from rainbowd.report import agent_identity
from rainbowd.report.lost_lock import find_agent_without_lock
from rainbowd.report.state_dir import SECRET_MODE, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_NAME = "lock"

PATIENCE_SECONDS = 0.5
"""How long to try: a command that asks for the holder has the lock shared for an instant."""
TRY_SECONDS = 0.01

_PID_BYTES = 32


class Lock:
    """The right to be the one agent of a state directory, held as long as the process lives; see flock(2).

    Its file is for the agent's user alone: anyone who may open a file may lock it, and a reader must not be able to
    keep an agent from starting.  Readers find the agent by ``agent.json``.

    Args:
        fd: of the file, locked.
        state_dir: where the file is.
        config: the config file that the agent runs by, for ``agent.json``.
    """

    def __init__(self, fd: int, state_dir: Path, config: Path | None = None) -> None:
        self._fd = fd
        self._state_dir = state_dir
        self.config = config
        self._is_ours = False

    @classmethod
    def acquire(cls, state_dir: Path, config: Path | None = None) -> Lock:
        """Take the lock and record who has it.

        Args:
            state_dir: where the lock is.
            config: see the class.

        Raises:
            UsageError: another agent has it, or the file cannot be written.
        """
        path = state_dir / LOCK_NAME
        with _naming(path):
            fd = open_file(path, os.O_RDWR, mode=SECRET_MODE)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(os.close, fd)
            with _naming(path):
                _lock(fd, state_dir, config)
                pid = find_agent_without_lock(path, config)
                if pid is not None:
                    raise _taken(state_dir, pid, config)
                # That of an agent that was killed goes where it is: a full disk has no room for another.
                os.pwrite(fd, b" " * min(os.fstat(fd).st_size, _PID_BYTES), 0)
                lock = cls(fd, state_dir, config)
                lock.claim()
            on_failure.pop_all()
        return lock

    def fileno(self) -> int:
        """Return the descriptor that holds it; a process that has it from us shares the lock: flock(2)."""
        return self._fd

    def claim(self) -> None:
        """Record that we are the agent; for an instant a reader may find none.

        Raises:
            OSError: as pwrite(2).
        """
        self._is_ours = True
        line = b"%d\n" % os.getpid()
        os.pwrite(self._fd, line, 0)
        os.ftruncate(self._fd, len(line))
        with contextlib.suppress(OSError):  # for readers only, and written again as soon as that is possible
            agent_identity.write(self._state_dir, agent_identity.this_process(self.config))

    def is_lost(self) -> bool:
        """Return whether another file, or none, is in the place of the one that is held.

        Raises:
            OSError: that cannot be seen now.
        """
        if self._fd < 0 or not self._is_ours:
            return False
        try:
            there = (self._state_dir / LOCK_NAME).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        return not os.path.samestat(there, os.fstat(self._fd))

    def is_recorded(self) -> bool:
        """Return whether readers can find us by ``agent.json``."""
        if self._fd < 0 or not self._is_ours:
            return True
        with contextlib.suppress(OSError):
            found = agent_identity.read(self._state_dir)
            return found is not None and found[0].pid == os.getpid()
        return False

    def retake(self) -> None:
        """Take the lock that is there by now, or make it; the descriptor keeps its number.

        Raises:
            UsageError: another agent has it.
            OSError: as open(2).
        """
        fd = open_file(self._state_dir / LOCK_NAME, os.O_RDWR, mode=SECRET_MODE)
        try:
            _lock(fd, self._state_dir, self.config)
            os.dup2(fd, self._fd, inheritable=False)
        finally:
            os.close(fd)
        self.claim()

    def leave(self) -> None:
        """Leave it to the agent that shares it."""
        os.close(self._fd)
        self._fd = -1

    def release(self) -> None:
        """Give the lock back; the file stays, as another agent may have it open already."""
        if self._fd < 0:
            return
        if self._is_ours:
            os.ftruncate(self._fd, 0)
            if not self.is_lost():
                with contextlib.suppress(OSError):
                    (self._state_dir / agent_identity.NAME).unlink()
        os.close(self._fd)
        self._fd = -1


def holder(state_dir: Path) -> int | None:
    """Return the pid of the running agent; None if none is running.

    Users who may not open the lock, such as members of the directory's group, are told by ``agent.json``.

    Raises:
        UsageError: it cannot be found out.
    """
    path = state_dir / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        return _recorded(state_dir)
    except OSError as error:
        raise Unwritable(str(path), error) from None
    try:
        with _naming(path):
            return _holder(fd, path)
    finally:
        os.close(fd)


def _recorded(state_dir: Path) -> int | None:
    """Return who ``agent.json`` says is running."""
    path = state_dir / agent_identity.NAME
    try:
        found = agent_identity.running_agent(state_dir)
    except PermissionError:
        raise UsageError(f"{path}: permission denied; expected you to be its owner, or in its group") from None
    except OSError as error:
        raise Unwritable(str(path), error) from None
    return found.pid if found is not None else None


def _taken(state_dir: Path, pid: int | str, config: Path | None) -> UsageError:
    """Return the error for a state directory that another agent has, with what to do about it."""
    found = None
    with contextlib.suppress(OSError):
        found = agent_identity.running_agent(state_dir)
    theirs = found.config if found is not None and found.pid == pid else ""
    if config is not None and theirs == str(config):
        advice = "it runs by this config: to replace it, use `rainbowd upgrade`, or stop it first"
    elif theirs:
        advice = f"it runs by {theirs}: give each config a state_dir of its own"
    else:
        advice = "stop that agent, or give this config a state_dir of its own"
    return UsageError(f"state_dir: {state_dir}: another agent (pid {pid}) is running with it; {advice}")


def _lock(fd: int, state_dir: Path, config: Path | None) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _try(fd, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            raise _taken(state_dir, _pid(fd) or "unknown", config)
        time.sleep(TRY_SECONDS)


def _holder(fd: int, path: Path) -> int | None:
    """Return who keeps us from sharing the lock; it may have it for an instant before its pid is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _try(fd, fcntl.LOCK_SH):
        pid = _pid(fd)
        if pid is not None:
            return pid
        if time.monotonic() >= deadline:
            raise UsageError(f"{path}: locked by a process that left no pid there; expected a rainbowd agent")
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
def _naming(path: Path) -> Iterator[None]:
    """What the system refuses becomes an error that names the file."""
    try:
        yield
    except OSError as error:
        raise Unwritable(str(path), error) from None
