"""The check of the state directory's disk: if it is full, a command reads an outdated status."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rainbowd.report.status import NAME

if TYPE_CHECKING:
    from pathlib import Path

ROOT = 0
LEAST_BYTES = 64 << 10
"""The size of a status and some lines of the journal."""


def warning(state_dir: Path) -> str | None:
    """Return a warning if the agent cannot write to the disk of its state directory, else None."""
    try:
        file = os.stat(state_dir / NAME)  # noqa: PTH116 - pathlib is not needed for this
        room = os.statvfs(state_dir)
    except OSError:
        return None
    problem = problem_of(room, is_root=file.st_uid == ROOT)
    if problem is None:
        return None
    written = datetime.fromtimestamp(file.st_mtime, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"the disk of {state_dir} {problem}: this is as of {written} UTC"


def problem_of(room: os.statvfs_result, *, is_root: bool) -> str | None:
    """Return why a file system cannot be written to, else None: statvfs(3).  Some space may be reserved for root."""
    blocks, files = (room.f_bfree, room.f_ffree) if is_root else (room.f_bavail, room.f_favail)
    if room.f_flag & os.ST_RDONLY:
        return "is read-only"
    if blocks * room.f_frsize < LEAST_BYTES:
        return "is full"
    return "has no room for one more file" if room.f_files and not files else None
