"""The search for an agent whose lock file was removed, or moved together with the directory.

Such an agent keeps running, and a new lock file would not keep a second agent from starting.  It creates its lock file
again as soon as it notices.  Until then, a second agent finds it by the lock that it still holds on the deleted file:
proc(5), fd and fdinfo.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from rainbowd.report.agent_pid_file import executable, running_agent

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAMS = ("python", "rainbowd", "pypy")
_DELETED = " (deleted)"


def find_agent_without_lock(path: Path, config: Path | None) -> int | None:
    """Return the pid of an agent that locked ``path`` before the file was removed or moved; None if there is none.

    Args:
        path: of the lock.
        config: the config file of this process.
    """
    copied = None
    with contextlib.suppress(OSError):
        copied = running_agent(path.parent)  # the directory may be a copy of the one that was moved
    if copied is not None and copied.pid != os.getpid() and config is not None and copied.config == str(config):
        return copied.pid
    deleted = os.path.realpath(path) + _DELETED
    return next((pid for pid in _candidates() if _holds(pid, deleted)), None)


def _candidates() -> list[int]:
    """Return the processes of this user that could be agents."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is not needed for this
        with contextlib.suppress(OSError):
            is_ours = name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.geteuid()  # noqa: PTH116 - the same
            if is_ours and int(name) != os.getpid():
                found.append(int(name))
    return [pid for pid in found if os.path.basename(executable(pid)).startswith(_PROGRAMS)]  # noqa: PTH119


def _holds(pid: int, name: str) -> bool:
    """Return whether a process holds a lock on the file with this name in proc(5)."""
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == name and _is_locked(pid, fd):  # noqa: PTH115
                    return True
    return False


def _is_locked(pid: int, fd: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{fd}") as info:  # noqa: PTH123
        return any(line.startswith("lock:") and " FLOCK " in line and " WRITE " in line for line in info)
