"""Whether the agent can write its state: on a full disk what it wrote last is all that a command can read."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rainbowd.report.status import NAME

if TYPE_CHECKING:
    from pathlib import Path

ROOT = 0
LEAST_BYTES = 64 << 10
"""What a status and some lines of the journal take, and the smallest disk keeps for itself."""


def warning(state_dir: Path) -> str | None:
    """Return what to say of a disk on which the agent can write nothing; None if it can, or that is not known."""
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
    """Return why a file system takes nothing more, some of which may be kept for root; None if it does: statvfs(3)."""
    blocks, files = (room.f_bfree, room.f_ffree) if is_root else (room.f_bavail, room.f_favail)
    if room.f_flag & os.ST_RDONLY:
        return "is read-only"
    if blocks * room.f_frsize < LEAST_BYTES:
        return "is full"
    return "has no room for one more file" if room.f_files and not files else None
