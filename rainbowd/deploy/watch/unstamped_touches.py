"""Touches that do not change a file's stamp, on file systems with timestamps in whole seconds.

Such are ext3, ext4 with 128-byte inodes and some NFS servers.  A second touch within one second gives the file the
stamp that it already has, so only an event reveals it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.watch.file_state import FileState

SECOND_NS = 1_000_000_000
LATE_SECONDS = 0.3
"""How long after a touch was reported its events can arrive: there are several, in more than one batch."""


class UnstampedTouches:
    """The events on the trigger file since the last comparison.

    Args:
        trigger_file: its path; None if it is turned off.
    """

    def __init__(self, trigger_file: Path | None) -> None:
        self._trigger_file = trigger_file
        self._is_tapped = False
        self._mode: tuple[int, int, int] | None = None
        self._reported_at = float("-inf")

    def on_event(self) -> None:
        """Record that there was an event on the trigger file."""
        self._is_tapped = True

    def reported(self) -> None:
        """Record that a touch was reported; its remaining events are not another one."""
        self._is_tapped = False
        self._reported_at = time.monotonic()

    def without_trace(self, seen: FileState, now: FileState) -> FileState:
        """Return the state to compare ``now`` with: ``seen``, without the trigger file if it was touched meanwhile.

        Reads from the disk, so call it in a thread.

        Args:
            seen: the previous state of the files.
            now: their present state, with the same stamp of the trigger file.
        """
        is_tapped, self._is_tapped = self._is_tapped, False
        before, self._mode = self._mode, self._read_mode()
        if not is_tapped or now.trigger != seen.trigger or not now.trigger:
            return seen
        is_late = time.monotonic() - self._reported_at < LATE_SECONDS
        is_chmod = before is not None and before != self._mode
        return seen if is_late or is_chmod or not _is_coarse(now) else replace(seen, trigger=())

    def _read_mode(self) -> tuple[int, int, int] | None:
        """Return the mode and the owners, because a chmod causes an event too and is not a touch."""
        try:
            status = self._trigger_file.lstat() if self._trigger_file is not None else None
        except OSError:
            return None
        return None if status is None else (status.st_mode, status.st_uid, status.st_gid)


def _is_coarse(now: FileState) -> bool:
    """Return whether the trigger file's stamp is a whole second that has only just begun."""
    stamped_ns = now.trigger[-1].mtime_ns
    age_ns = time.time_ns() - stamped_ns
    return stamped_ns % SECOND_NS == 0 and 0 <= age_ns < SECOND_NS * (1 + LATE_SECONDS)
