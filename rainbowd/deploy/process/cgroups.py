"""The control group of each launch, below the agent's own group if systemd has delegated that to it (cgroups(7)).

A process is in the group of the process that started it, whatever it does to its environment, its session and its
parents.  To move one takes write access to the group, which only the account of the agent and root have.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOUNTS = Path("/proc/self/mountinfo")
_OWN = Path("/proc/self/cgroup")
_MARKS = ("user.delegate", "trusted.delegate")
"""What systemd sets on a group that it has delegated; only root can read the second."""
_PROCESSES = "cgroup.procs"
_NAME = re.compile(r"generation-[0-9]+(?:-[A-Za-z0-9][\w.-]*)?-([0-9]+)", re.ASCII)
"""The name of the group of an app, a hook or a companion process; it ends with the number of the first process."""


def enter_new_cgroup(name: str, pid: int) -> Path | None:
    """Create a control group for one launch, below the agent's own, and move the launch's first process into it.

    Args:
        name: of the group; the number of the process is appended, so that no two launches share one.
        pid: number of the process, which must not have started another one yet.

    Returns:
        The directory of the group; None if the agent's own is not delegated to it, or the kernel refuses.
    """
    own = _find_delegated()
    if own is None:
        return None
    cgroup = own / f"{name}-{pid}"
    try:
        cgroup.mkdir()
        (cgroup / _PROCESSES).write_text(str(pid))
    except OSError:
        remove_cgroup(cgroup)
        return None
    return cgroup


def read_cgroup(cgroup: Path) -> Iterator[int]:
    """Yield the numbers of the processes in a group and in the groups below it; none if it no longer exists."""
    for directory, _, _ in os.walk(cgroup):
        with suppress(OSError):  # removed meanwhile, or threaded: then its parent lists its processes
            yield from map(int, Path(directory, _PROCESSES).read_text().split())


def remove_cgroup(cgroup: Path) -> None:
    """Remove a group and the groups below it, if no process is left there."""
    for directory, _, _ in os.walk(cgroup, topdown=False):
        with suppress(OSError):
            Path(directory).rmdir()


def remove_left_cgroups() -> None:
    """Remove the groups of launches whose first process has ended, if no process is left there.

    A killed agent leaves the groups of its hooks, and a process that could not be ended keeps its group until it ends.
    """
    own = _find_delegated()
    for cgroup in () if own is None else own.iterdir():
        launch = _NAME.fullmatch(cgroup.name)
        if launch is not None and not Path("/proc", launch[1]).exists():
            remove_cgroup(cgroup)


def _find_delegated() -> Path | None:
    """Return the directory of the agent's own group if systemd has delegated it and the agent may write there."""
    with suppress(OSError, ValueError):
        own = _find_own()
        if own is not None and _is_delegated(own) and os.access(own, os.W_OK):
            return own
    return None


def _find_own() -> Path | None:
    """Return the directory of the agent's own group in the unified hierarchy; None if that is not mounted."""
    path = next((line[3:] for line in _OWN.read_text().splitlines() if line.startswith("0::")), "")
    for line in _MOUNTS.read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        root, point = (_unescape(field) for field in mount.split()[3:5])
        if filesystem.startswith("cgroup2 ") and Path(path).is_relative_to(root):
            own = Path(point, os.path.relpath(path, root))
            if str(os.getpid()) in (own / _PROCESSES).read_text().split():
                return own
    return None


def _unescape(field: str) -> str:
    """Decode a field of mountinfo (proc_pid_mountinfo(5)): blanks and backslashes are octal numbers there."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _is_delegated(cgroup: Path) -> bool:
    for mark in _MARKS:
        with suppress(OSError):
            if os.getxattr(cgroup, mark) == b"1":
                return True
    return False
