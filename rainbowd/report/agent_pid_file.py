"""``agent.json``: the pid file of the agent that uses a state directory, for users who cannot open its lock.

A pid alone does not identify a process, because the kernel reuses pids.  The pid, the time at which the process started
and the ID of the boot together do: proc(5), starttime.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.report.state_dir import open_file, open_to_read

if TYPE_CHECKING:
    from pathlib import Path

NAME = "agent.json"
SIZE_BYTES = 4096
"""The constant size of the file, so that the next agent can overwrite it even on a full disk."""

_START_TIME = 19
"""The index of the field, counted after the name of the process: proc(5), stat."""
_FIELDS = {"pid": int, "start_time": int, "boot_id": str, "executable": str, "config": str}
_ENDED = {"Z", "X"}
_DELETED = " (deleted)"
"""The suffix of a program whose file was replaced: proc(5), exe."""


class AgentIdentity(NamedTuple):
    """The facts that identify an agent's process.

    Attributes:
        pid: the process ID.
        start_time: in clock ticks since boot.
        boot_id: of the boot in which the process started: random(4).
        executable: the program's file.
        config: the agent's config file; empty if it is not known.
    """

    pid: int
    start_time: int
    boot_id: str
    executable: str
    config: str

    def is_alive(self, owner: int) -> bool:
        """Return whether the process still runs, and belongs to the owner of the file that names it.

        Args:
            owner: the user ID of the file's owner.
        """
        if self.boot_id != _boot_id():
            return False
        try:
            account = os.stat(f"/proc/{self.pid}").st_uid  # noqa: PTH116 - pathlib is not needed for this
            state, start_time = _stat(self.pid)
        except OSError:
            return _is_hidden(self.pid)
        return (account, start_time) == (owner, self.start_time) and state not in _ENDED


def current_identity(config: Path | None) -> AgentIdentity:
    """Return the identity of this process.

    Args:
        config: the config file of the agent.
    """
    pid = os.getpid()
    return AgentIdentity(pid, _stat(pid)[1], _boot_id(), executable(pid), str(config or ""))


def write(state_dir: Path, running: AgentIdentity) -> None:
    """Write the identity in place, which needs no free space on a full disk.

    Args:
        state_dir: the directory of the file.
        running: the identity.

    Raises:
        OSError: as open(2) and write(2).
    """
    text = json.dumps(running._asdict())
    if len(text) >= SIZE_BYTES:
        text = json.dumps(running._replace(config="")._asdict())
    fd = open_file(state_dir / NAME, os.O_RDWR)
    try:
        os.pwrite(fd, text.encode().ljust(SIZE_BYTES - 1) + b"\n", 0)
    finally:
        os.close(fd)


def read(state_dir: Path) -> tuple[AgentIdentity, int] | None:
    """Read the recorded identity, whether its process is alive or not.

    Args:
        state_dir: the directory of the file.

    Returns:
        The identity, and the user ID of the file's owner; None if the file is missing, empty or damaged.

    Raises:
        OSError: the file exists, but cannot be read.
    """
    try:
        with open_to_read(state_dir / NAME) as file:
            owner = os.fstat(file.fileno()).st_uid
            fields = json.loads(file.read(SIZE_BYTES) or b"{}")
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != _FIELDS:
        return None
    return AgentIdentity(**fields), owner


def running_agent(state_dir: Path) -> AgentIdentity | None:
    """Return the recorded identity if its process is alive, otherwise None.

    Args:
        state_dir: the directory of the file.

    Raises:
        OSError: the file exists, but cannot be read.
    """
    found = read(state_dir)
    return found[0] if found is not None and found[0].is_alive(found[1]) else None


def executable(pid: int) -> str:
    """Return the path of the program that a process runs, even if the file was replaced; empty if that is hidden."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(_DELETED)  # noqa: PTH115
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int]:
    """Return the state letter and the start time of a process."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib is not needed for this
        fields = file.read().rpartition(b") ")[2].split()
    return fields[0].decode(), int(fields[_START_TIME])


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - the same
        return file.read().strip()


def _is_hidden(pid: int) -> bool:
    """Return whether the process belongs to another user and /proc hides it: proc(5), hidepid."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False
