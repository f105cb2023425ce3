"""A file with space reserved in advance, so that it can be replaced even when the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from rainbowd.report.state_dir import open_file, replace_file, write_all

if TYPE_CHECKING:
    from pathlib import Path

RESERVE_BYTES = 16 << 10

_FULL = {errno.ENOSPC, errno.EDQUOT}


class ReservedFile:
    """A file with two spare files next to it, which have disk blocks of their own.

    On a full disk, new content is written into the blocks of a spare file, which then replaces the file, so that a
    reader sees either the old or the new content.  The second spare file is for the next time; after that, the file and
    a spare file change places.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spare = path.with_name(f"{path.name}.spare")
        self._second = path.with_name(f"{path.name}.second")
        self._aside = path.with_name(f"{path.name}.aside")

    def replace(self, data: bytes) -> None:
        """Replace the content of the file atomically; on a full disk, the content is padded with spaces.

        Args:
            data: JSON.

        Raises:
            OSError: the file cannot be written; it keeps its old content.
        """
        try:
            replace_file(self._path, data)
        except OSError as error:
            if error.errno not in _FULL or not self._replace_with_spare(data):
                raise
        else:
            _reserve(self._spare)
            _reserve(self._second)

    def _replace_with_spare(self, data: bytes) -> bool:
        try:
            if not _overwrite(self._spare, data):
                return False
            if self._second.exists():
                self._spare.replace(self._path)
                self._second.replace(self._spare)
            else:
                self._aside.unlink(missing_ok=True)
                os.link(self._path, self._aside)
                self._spare.replace(self._path)
                self._aside.replace(self._spare)
        except OSError:
            return False
        return True


def _reserve(spare: Path) -> None:
    """Create a spare file with its blocks, unless it exists; if this fails, there is no reserve."""
    try:
        if spare.exists():
            return
        fd = open_file(spare, os.O_WRONLY | os.O_EXCL)
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        finally:
            os.close(fd)
    except OSError:
        with contextlib.suppress(OSError):
            spare.unlink(missing_ok=True)


def _overwrite(spare: Path, data: bytes) -> bool:
    """Overwrite all of ``spare`` with ``data`` and spaces; return whether it was long enough."""
    fd = open_file(spare, os.O_WRONLY)
    try:
        room_bytes = os.fstat(fd).st_size - len(data)
        if room_bytes >= 0:
            write_all(fd, data.removesuffix(b"\n") + b" " * room_bytes + b"\n")
    finally:
        os.close(fd)
    return room_bytes >= 0
