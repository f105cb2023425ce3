"""The state directory: how it is made, and how files in it are opened and replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from rainbowd.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY_MODE = 0o2750
PARENT_MODE = 0o755
FILE_MODE = 0o640
SECRET_MODE = 0o600


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
