"""The state directory: making it, having it to oneself, and how files in it are opened and replaced."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, BinaryIO

from rainbowd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIRECTORY_MODE = 0o2750
PARENT_MODE = 0o755
FILE_MODE = 0o640
SECRET_MODE = 0o600
LOCK_NAME = "lock"

PATIENCE_SECONDS = 0.5
"""How long to try: whoever asks for the holder has the lock shared for an instant."""
TRY_SECONDS = 0.01

_PID_BYTES = 32


def prepare(path: Path, *, is_searched: bool = False) -> None:
    """Make the state directory unless it is there; one that is there keeps its mode.

    Args:
        path: of it; those above it are made too.
        is_searched: the app is another user, who has to pass through it to what is its own.

    Raises:
        UsageError: it cannot be made, is something else, or may not be written.
    """
    try:
        if not path.is_dir():
            _make_directories(path)
        if is_searched:
            admit(path)
    except FileExistsError:
        raise UsageError(f"state_dir: {path}: found something else there; expected a directory") from None
    except OSError as error:
        raise UsageError(f"state_dir: {path}: cannot be made: {error.strerror}") from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise UsageError(f"state_dir: {path}: not writable; expected a directory of the agent's own")


def admit(path: Path) -> None:
    """Let everybody search the directory ``path``, which shows nobody what is in it.

    Raises:
        OSError: as chmod(2).
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if not mode & stat.S_IXOTH:
            os.fchmod(fd, mode | stat.S_IXOTH)
    finally:
        os.close(fd)


def _make_directories(path: Path) -> None:
    """Make ``path``, and what is missing above it, each with its mode whatever the umask is."""
    missing = [one for one in (path, *path.parents) if not os.path.lexists(one)]
    if not missing:
        raise FileExistsError
    for directory in reversed(missing):
        directory.mkdir(mode=0o700)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(fd, DIRECTORY_MODE if directory == path else PARENT_MODE)
        finally:
            os.close(fd)


class Lock:
    """The right to be the one agent of a state directory, held as long as the process lives; see flock(2)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_ours = False

    @classmethod
    def acquire(cls, state_dir: Path) -> Lock:
        """Take the lock and put our pid in its file.

        Raises:
            UsageError: another agent has it, or the file cannot be written.
        """
        path = state_dir / LOCK_NAME
        with _naming(path):
            fd = open_file(path, os.O_RDWR)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(os.close, fd)
            with _naming(path):
                _lock(fd, state_dir)
                # That of an agent that was killed goes where it is: a full disk has no room for another.
                os.pwrite(fd, b" " * min(os.fstat(fd).st_size, _PID_BYTES), 0)
                lock = cls(fd)
                lock.claim()
            on_failure.pop_all()
        return lock

    def fileno(self) -> int:
        """The descriptor that holds it; whoever has it from us shares the lock: flock(2)."""
        return self._fd

    def claim(self) -> None:
        """Put our pid in its file; a reader sees it, or for an instant none.

        Raises:
            OSError: as pwrite(2).
        """
        self._is_ours = True
        line = b"%d\n" % os.getpid()
        os.pwrite(self._fd, line, 0)
        os.ftruncate(self._fd, len(line))

    def leave(self) -> None:
        """Leave it to the agent that shares it."""
        os.close(self._fd)
        self._fd = -1

    def release(self) -> None:
        """Give the lock back; the file stays, as another agent may have it open already."""
        if self._fd >= 0:
            if self._is_ours:
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def holder(state_dir: Path) -> int | None:
    """The pid of the running agent; None where none is running.

    Raises:
        UsageError: that cannot be told.
    """
    path = state_dir / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise UsageError(f"{path}: permission denied; expected you to be its owner, or in its group") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    try:
        with _naming(path):
            return _holder(fd, path)
    finally:
        os.close(fd)


def open_file(path: Path, flags: int, *, mode: int = FILE_MODE) -> int:
    """Open a file of the state directory, made where it is missing; never through a symlink.

    Returns:
        A descriptor that no child inherits.

    Raises:
        OSError: as open(2).
    """
    fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileExistsError(errno.EEXIST, "expected a regular file", str(path))
    if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
        with contextlib.suppress(PermissionError):  # not ours, but writable: leave it as it is
            os.fchmod(fd, mode)  # whatever the umask is
    return fd


def open_to_read(path: Path) -> BinaryIO:
    """Open a file of the state directory to read it; never through a symlink, and a named pipe is empty.

    Raises:
        OSError: as open(2).
    """
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def write_all(fd: int, data: bytes) -> None:
    """Write all of it.

    Raises:
        OSError: as write(2); a part may have been written.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def replace_file(path: Path, data: bytes, *, mode: int = FILE_MODE) -> None:
    """Put ``data`` in the place of a file, so that a reader sees the old content or the new, never a part.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.unlink(missing_ok=True)  # of a write that was cut off
        fd = open_file(beside, os.O_WRONLY | os.O_EXCL, mode=mode)
        try:
            write_all(fd, data)
        finally:
            os.close(fd)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _lock(fd: int, state_dir: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _try(fd, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            pid = _pid(fd) or "unknown"
            raise UsageError(f"state_dir: {state_dir}: another agent (pid {pid}) is running with it")
        time.sleep(TRY_SECONDS)


def _holder(fd: int, path: Path) -> int | None:
    """Who keeps us from sharing the lock; it may have it for an instant before its pid is there."""
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
        raise UsageError(f"{path}: {error.strerror}") from None
