"""Room for one file, taken in advance, so that the file can still be replaced when the disk is full."""

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


class Reserve:
    """Two files beside the one that is replaced, with blocks of their own.

    On a full disk the content goes into the blocks of one, which then takes the place of the file, so that a reader
    sees one content or the other.  The second is for the next time; from then on two files change places.

    Args:
        path: of the file that is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spare = path.with_name(f"{path.name}.spare")
        self._second = path.with_name(f"{path.name}.second")
        self._aside = path.with_name(f"{path.name}.aside")

    def replace(self, data: bytes) -> None:
        """Put ``data``, which is JSON, in the place of the file; on a full disk it is padded with spaces.

        Raises:
            OSError: it cannot be written; what was there is there still.
        """
        try:
            replace_file(self._path, data)
        except OSError as error:
            if error.errno not in _FULL or not self._replace_in_reserve(data):
                raise
        else:
            _take(self._spare)
            _take(self._second)

    def _replace_in_reserve(self, data: bytes) -> bool:
        try:
            if not _fill(self._spare, data):
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


def _take(spare: Path) -> None:
    """Take the room of ``spare`` if it is not taken; where that fails there is just no reserve."""
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


def _fill(spare: Path, data: bytes) -> bool:
    """Overwrite all of ``spare`` with ``data`` and spaces; whether it is long enough for that."""
    fd = open_file(spare, os.O_WRONLY)
    try:
        room_bytes = os.fstat(fd).st_size - len(data)
        if room_bytes >= 0:
            write_all(fd, data.removesuffix(b"\n") + b" " * room_bytes + b"\n")
    finally:
        os.close(fd)
    return room_bytes >= 0
