"""Touches that leave no trace, as the file system's stamps are whole seconds.

Such are ext3, ext4 with 128-byte inodes and some NFS.  The second touch within a second gives the file the stamp
that it has already.  Only an event tells of it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rainbowd.deploy.watch.file_state import FileState

SECOND_NS = 1_000_000_000
LATE_SECONDS = 0.2
"""How long after a touch its event may come."""


class Taps:
    """Events on the trigger file.

    Args:
        trigger_file: None if that is off.
    """

    def __init__(self, trigger_file: Path | None) -> None:
        self._trigger_file = trigger_file
        self._is_tapped = False
        self._mode: tuple[int, int, int] | None = None
        self._seen_without_event_at = float("-inf")

    def tell(self, paths: Iterable[str]) -> None:
        """Take in that there were events on ``paths``."""
        self._is_tapped |= str(self._trigger_file) in paths

    def reported(self, *, is_woken: bool) -> None:
        """A touch was seen by its stamp; without having been woken, its event is still to come."""
        self._is_tapped = False
        if not is_woken:
            self._seen_without_event_at = time.monotonic()

    def without_trace(self, seen: FileState, now: FileState) -> FileState:
        """Return what to compare ``now`` with: ``seen``, but without the trigger file if that was touched meanwhile.

        Reads from the disk, so use it in a thread.

        Args:
            seen: what the files looked like before.
            now: what they look like, with the trigger file as in ``seen``.
        """
        is_tapped, self._is_tapped = self._is_tapped, False
        before, self._mode = self._mode, self._read_mode()
        if not is_tapped or now.trigger != seen.trigger or not now.trigger:
            return seen
        is_late = time.monotonic() - self._seen_without_event_at < LATE_SECONDS
        is_chmod = before is not None and before != self._mode
        return seen if is_late or is_chmod or not _is_coarse(now) else replace(seen, trigger=())

    def _read_mode(self) -> tuple[int, int, int] | None:
        """The mode and the owners: a chmod has an event, too, and is no touch."""
        try:
            status = self._trigger_file.lstat() if self._trigger_file is not None else None
        except OSError:
            return None
        return None if status is None else (status.st_mode, status.st_uid, status.st_gid)


def _is_coarse(now: FileState) -> bool:
    """Whether the trigger file's stamp is a whole second that has only just begun."""
    stamped_ns = now.trigger[-1].mtime_ns
    age_ns = time.time_ns() - stamped_ns
    return stamped_ns % SECOND_NS == 0 and 0 <= age_ns < SECOND_NS * (1 + LATE_SECONDS)
