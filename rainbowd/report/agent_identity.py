"""``agent.json``: which process runs with a state directory, for those who may read it but not take its lock.

A pid alone is no evidence: its process may have ended, and the number may be another's by now.  The time at which the
process started and the boot that this time belongs to make it one process for good: proc(5), starttime.
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
"""What the file always takes, so that after a kill the next agent finds room there on a full disk."""

_START_TIME = 19
"""Its place after the name of the process: proc(5), stat."""
_FIELDS = {"pid": int, "start_time": int, "boot_id": str, "executable": str, "config": str}
_ENDED = {"Z", "X"}
_DELETED = " (deleted)"
"""What proc(5) adds to the name of a program that was replaced since."""


class Running(NamedTuple):
    """What a process is known by.

    Attributes:
        pid: its number.
        start_time: in clock ticks since boot.
        boot_id: of the boot that number and time belong to; random(4).
        executable: the program's file.
        config: the config file that the agent runs by.
    """

    pid: int
    start_time: int
    boot_id: str
    executable: str
    config: str

    def is_alive(self, owner: int) -> bool:
        """Return whether the process is there still, and belongs to the user who said that it is the agent.

        Args:
            owner: the user id of the file's owner.
        """
        if self.boot_id != _boot_id():
            return False
        try:
            account = os.stat(f"/proc/{self.pid}").st_uid  # noqa: PTH116 - pathlib is not needed for this
            state, start_time = _stat(self.pid)
        except OSError:
            return _is_hidden(self.pid)
        return (account, start_time) == (owner, self.start_time) and state not in _ENDED


def this_process(config: Path | None) -> Running:
    """Return what we are known by."""
    pid = os.getpid()
    return Running(pid, _stat(pid)[1], _boot_id(), executable(pid), str(config or ""))


def write(state_dir: Path, running: Running) -> None:
    """Record who runs; in place, which takes no room on a full disk.

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


def read(state_dir: Path) -> tuple[Running, int] | None:
    """Return who runs, and the user id of the file's owner; None if the file names nobody.

    Raises:
        OSError: it cannot be read, other than because it is not there.
    """
    try:
        with open_to_read(state_dir / NAME) as file:
            owner = os.fstat(file.fileno()).st_uid
            fields = json.loads(file.read(SIZE_BYTES) or b"{}")
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != _FIELDS:
        return None
    return Running(**fields), owner


def running_agent(state_dir: Path) -> Running | None:
    """Return the agent that the file names, if its process is alive.

    Raises:
        OSError: the file cannot be read, other than because it is not there.
    """
    found = read(state_dir)
    return found[0] if found is not None and found[0].is_alive(found[1]) else None


def executable(pid: int) -> str:
    """Return the program that a process runs, also if its file was replaced; empty if that may not be seen."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(_DELETED)  # noqa: PTH115
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int]:
    """Return the state of a process and the time at which it started."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib is not needed for this
        fields = file.read().rpartition(b") ")[2].split()
    return fields[0].decode(), int(fields[_START_TIME])


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - the same
        return file.read().strip()


def _is_hidden(pid: int) -> bool:
    """Return whether there is such a process of another user, which /proc does not show: proc(5), hidepid."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False
