"""Reading files that anyone who can deploy can put in place: only a regular file, without following a link."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that exists.

    Attributes:
        stamp: device, inode, mtime in nanoseconds and size, which change if the file is replaced or written.
        owner: the user id of its owner.
    """

    stamp: tuple[int, int, int, int]
    owner: int


class WatchedFiles(Protocol):
    """Files that are compared whenever the release link and the trigger file are.

    Attributes:
        paths: of the files.
        due_at: when they must be compared although none has changed, by trio's clock; infinite if there is no need.
    """

    paths: tuple[Path, ...]
    due_at: float

    def compare(self, files: Mapping[Path, FoundFile | None], now: float) -> None:
        """Act on a change of the files.

        Args:
            files: the state of each path; a path whose state cannot be read is left out.
            now: the present moment, by trio's clock.
        """


def find_file(path: Path) -> FoundFile | None:
    """Return the state of a file, or of a link in its place; None if there is none, or if it is a directory.

    Raises:
        OSError: the state cannot be read.
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(status.st_mode):
        return None
    return FoundFile((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size), status.st_uid)


def find_files(paths: Iterable[Path]) -> dict[Path, FoundFile | None]:
    """Return what ``find_file`` returns of each file, without the files that nothing can be known of."""
    found = {}
    for path in paths:
        with suppress(OSError):
            found[path] = find_file(path)
    return found


def read_regular_file(path: Path, max_bytes: int) -> bytes | None:
    """Return the first ``max_bytes`` bytes of a file; None if it cannot be read safely.

    Anyone who can write the file's directory can put any file in its place, and the content is published.  So neither a
    symlink nor a hard link to another file is read, and nothing is opened that could block.
    """
    try:
        expected = path.lstat()
        if not stat.S_ISREG(expected.st_mode):
            return None
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        found = os.fstat(opened)
        is_own = stat.S_ISREG(found.st_mode) and found.st_nlink <= 1
        return _read(opened, max_bytes) if is_own else None
    except OSError:
        return None
    finally:
        os.close(opened)


def _read(opened: int, max_bytes: int) -> bytes:
    data = b""
    while len(data) < max_bytes and (more := os.read(opened, max_bytes - len(data))):
        data += more
    return data
