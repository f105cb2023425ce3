"""The state directory: functions that create it, and that open and replace files in it."""

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
    """Create the state directory unless it exists; an existing one keeps its mode.

    Args:
        path: of the directory; missing parents are created too.
        is_searched: whether the app runs as another user, who must be able to reach its own files in the directory.

    Raises:
        UsageError: it cannot be created, is not a directory, or cannot be written.
    """
    try:
        if not path.is_dir():
            _make_directories(path)
        if is_searched:
            admit(path)
    except FileExistsError:
        raise UsageError(f"state_dir: {path}: found something else; expected a directory") from None
    except OSError as error:
        raise UsageError(f"state_dir: {path}: cannot be created: {error.strerror}") from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise UsageError(f"state_dir: {path}: not writable; expected a directory of the agent's own")


def admit(path: Path) -> None:
    """Let every user search the directory, which does not let them list it.

    Args:
        path: of the directory.

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
    """Create ``path`` and its missing parents, each with its mode whatever the umask is."""
    missing = [directory for directory in (path, *path.parents) if not os.path.lexists(directory)]
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
    """Open a file of the state directory, never through a symlink; create it if it is missing.

    Args:
        path: of the file.
        flags: as of open(2).
        mode: of the file.

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
        with contextlib.suppress(PermissionError):  # a file of another user that we can write keeps its mode
            os.fchmod(fd, mode)  # whatever the umask is
    return fd


def open_to_read(path: Path) -> BinaryIO:
    """Open a file of the state directory to read it, never through a symlink; a named pipe reads as empty.

    Args:
        path: of the file.

    Raises:
        OSError: as open(2).
    """
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def write_all(fd: int, data: bytes) -> None:
    """Write all bytes to a descriptor, in several calls if necessary.

    Raises:
        OSError: as write(2); a part may have been written.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def replace_file(path: Path, data: bytes, *, mode: int = FILE_MODE) -> None:
    """Replace the content of a file atomically: a reader sees either the old or the new content.

    Args:
        path: of the file.
        data: the new content.
        mode: of the file.

    Raises:
        OSError: the file cannot be written; it keeps its old content.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)  # of a write that was cut off
        fd = open_file(temporary, os.O_WRONLY | os.O_EXCL, mode=mode)
        try:
            write_all(fd, data)
        finally:
            os.close(fd)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
