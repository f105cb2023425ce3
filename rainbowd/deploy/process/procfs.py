"""Reading /proc (proc(5)): the identity, the account, the environment and the command of processes.

The kernel reuses numbers, so a process is identified by its number and its start time.

psutil would not do: it has no sessions, its start times depend on a clock that can be set, so that no record could hold
them, and it takes four times as long to list all processes.
"""

from __future__ import annotations

import errno
import os
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import pidfd_send_signal
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process.as_user import as_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_PROC = Path("/proc")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
_STATE, _PARENT, _SESSION, _THREADS, _START_TIME, _ENVIRONMENT_START, _ENVIRONMENT_END = 0, 1, 3, 17, 19, 47, 48
"""Indices of the fields that follow the name in /proc/PID/stat."""
_ENDED = {b"Z", b"X"}
_PIDFILE_BYTES = 32
_ENVIRONMENT_BYTES = 1 << 18
"""How much of an environment is read: many times what an app is started with, and no burden for the agent."""
_COMMAND_BYTES = 4096
_EXEC_TRIES, _EXEC_SECONDS = 500, 0.001
"""How often, and after how many seconds, to read a process again that is in the middle of execve(2)."""
HOOK = "RAINBOWD_HOOK"
"""The environment variable that only the processes of a hook have."""
PROCESS, INSTANCE = "RAINBOWD_PROCESS", "RAINBOWD_INSTANCE"
"""The environment variables that only a companion process has: its name, and its number from 1."""
MARK = "RAINBOWD_MARK"
"""The environment variable with the secret random mark of a launch."""

Variables = frozenset[bytes]
"""An environment, each variable as ``NAME=VALUE``."""


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """One process, as it was when it was read.

    Attributes:
        pid, parent, session: numbers of the process, its parent and its session.
        start_time: in clock ticks since boot.
        ended: it is a zombie, and all of its threads have ended.
    """

    pid: int
    parent: int
    session: int
    start_time: int
    ended: bool = False


class ProcReader:
    """A reader of accounts and environments for one search; it reads the account of a process once."""

    def __init__(self) -> None:
        self._uids: dict[int, int | None] = {}

    def uid(self, pid: int) -> int | None:
        """Return the real uid of a process, or None if it is gone.

        The real one, because a set-uid program belongs to the account that started it.
        """
        if pid not in self._uids:
            self._uids[pid] = read_uid(pid)
        return self._uids[pid]

    def environments(self, pids: Iterable[int]) -> dict[int, Variables]:
        """Return the environments that the processes were started with, or have written over that.

        A process in the middle of execve(2) has no environment yet.  On a busy machine that can last long, so it is
        read again until execve has returned, for half a second at most.

        Args:
            pids: numbers of the processes.

        Returns:
            The variables by number; nothing for a process that has none or whose environment cannot be read.
        """
        waiting, found = list(pids), dict[int, Variables]()
        for _ in range(_EXEC_TRIES):
            read = {pid: read_environment(pid) for pid in waiting}
            found |= {pid: frozenset(variables.split(b"\0")) for pid, variables in read.items() if variables}
            waiting = [pid for pid, variables in read.items() if variables == b"" and _will_have_environment(pid)]
            if not waiting:
                break
            time.sleep(_EXEC_SECONDS)
        return found


def read_table() -> dict[int, ProcessInfo]:
    """Return all processes that the agent may see, by number."""
    pids = (int(name) for name in os.listdir(_PROC) if name.isdecimal())  # noqa: PTH208 - names are wanted
    return {entry.pid: entry for pid in pids if (entry := read_entry(pid)) is not None}


def read_entry(pid: int) -> ProcessInfo | None:
    """Return the process ``pid``, or None if it does not exist or the agent may not see it."""
    try:
        fields = _read_stat(pid)
    except _GONE:
        return None
    ended = fields[_STATE] in _ENDED and int(fields[_THREADS]) <= 1
    return ProcessInfo(pid, int(fields[_PARENT]), int(fields[_SESSION]), int(fields[_START_TIME]), ended)


def ancestors(pid: int, table: Mapping[int, ProcessInfo]) -> list[int]:
    """Return the numbers of the processes that ``pid`` descends from, its parent first.

    Args:
        pid: number of the process.
        table: all processes, see ``read_table``.
    """
    line: list[int] = []
    entry = table.get(pid)
    while entry is not None and entry.parent not in line:
        line.append(entry.parent)
        entry = table.get(entry.parent)
    return line


def session_of(pid: int, table: Mapping[int, ProcessInfo]) -> list[int]:
    """Return the numbers of the other processes in the session of ``pid``.

    Args:
        pid: number of the process.
        table: all processes, see ``read_table``.
    """
    session = table[pid].session if pid in table else 0
    return [entry.pid for entry in table.values() if session and entry.session == session and entry.pid != pid]


def read_pidfile(path: Path) -> int | None:
    """Return the number in a pidfile, or None unless it is a regular file that contains one number and nothing else."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(file, _PIDFILE_BYTES)
    except OSError:  # a directory, or a named pipe with a writer
        return None
    finally:
        os.close(file)
    return int(text) if re.fullmatch(rb"\s*[1-9][0-9]{0,9}\s*", text) else None


def read_environment(pid: int) -> bytes | None:
    """Return the start of a process's environment as it was given to execve(2), or has been written over since.

    Returns:
        Variables with a null byte after each; empty if it has none or is in the middle of execve; None if it cannot
        be read.
    """
    try:
        with as_owner(pid), (_PROC / str(pid) / "environ").open("rb") as file:
            return file.read(_ENVIRONMENT_BYTES)
    except OSError:  # the process is gone, or the agent may not read it
        return None


def _will_have_environment(pid: int) -> bool:
    """Return whether a process without an environment was in the middle of execve(2), and has one now or soon."""
    try:
        with as_owner(pid):
            fields = _read_stat(pid)
    except OSError:
        return False
    start, end = int(fields[_ENVIRONMENT_START]), int(fields[_ENVIRONMENT_END])
    return fields[_STATE] not in _ENDED and (end == 0 or end > start)  # execve sets both last


def _read_stat(pid: int) -> list[bytes]:
    line = (_PROC / str(pid) / "stat").read_bytes()
    return line[line.rindex(b")") + 1 :].split()  # a name may have blanks and brackets


def read_uid(pid: int) -> int | None:
    """Return the real uid of a process, or None if it is gone."""
    try:
        status = (_PROC / str(pid) / "status").read_bytes()
    except OSError:
        return None
    found = re.search(rb"^Uid:\s+(\d+)", status, re.MULTILINE)  # a name contains no line ends: they are escaped
    return int(found[1]) if found else None


def read_command(pid: int) -> str:
    """Return the command line of a process as printable text, its name if it has none, or "" if it is gone."""
    try:
        with (_PROC / str(pid) / "cmdline").open("rb") as file:
            arguments = file.read(_COMMAND_BYTES).rstrip(b"\0")
        name = (_PROC / str(pid) / "comm").read_bytes().rstrip(b"\n")
    except OSError:
        return ""
    text = os.fsdecode(arguments.replace(b"\0", b" ").strip() or name)
    return "".join(character if character.isprintable() else "?" for character in text)


def children() -> frozenset[int]:
    """Return the numbers of the agent's children, including adopted orphans; none if the kernel has no list of them."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_bytes()
    except OSError:  # CONFIG_PROC_CHILDREN, proc(5)
        return frozenset()
    return frozenset(map(int, text.split()))


def is_running(pid: int, start_time: int) -> bool:
    """Return whether the process ``pid`` that began at ``start_time``, in clock ticks since boot, has not ended."""
    now = read_entry(pid)
    return now is not None and now.start_time == start_time and not now.ended


def open_pidfd(pid: int, start_time: int) -> int:
    """Open a pidfd of a process (pidfd_open(2)).

    Args:
        pid: number of the process.
        start_time: in clock ticks since boot.

    Returns:
        The descriptor; -1 if the process no longer exists, even if another one has its number.

    Raises:
        OSError: no descriptor is left.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in {errno.ESRCH, errno.EINVAL, errno.ENOENT}:  # the latter two: a thread has the number now
            return -1
        raise
    now = read_entry(pid)
    if now is not None and now.start_time == start_time:
        return pidfd
    os.close(pidfd)
    return -1


@contextmanager
def open_pidfds(entry: ProcessInfo) -> Iterator[int]:
    """Open a pidfd of the process ``entry``, and close it at the end of the context.

    Raises:
        ProcessLookupError: the process no longer exists, even if another one has its number.
    """
    pidfd = open_pidfd(entry.pid, entry.start_time)
    if pidfd < 0:
        raise ProcessLookupError(entry.pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def send_signal(entry: ProcessInfo, signum: int, covers: Callable[[int], bool] | None = None) -> bool:
    """Send a signal to a process.

    Args:
        entry: the process.
        signum: number of the signal.
        covers: returns whether processes of an account may be signalled, by its uid; None for all accounts.

    Returns:
        Whether it was sent; not if the process has ended, has another account now, or the agent lacks the permission.
    """
    try:
        with open_pidfds(entry) as pidfd:
            uid = None if covers is None else read_uid(entry.pid)
            if covers is not None and (uid is None or not covers(uid)):
                return False
            pidfd_send_signal(pidfd, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def until_ended(entry: ProcessInfo) -> None:
    """Wait until the process ``entry`` has ended."""
    with suppress(ProcessLookupError), open_pidfds(entry) as pidfd:
        await trio.lowlevel.wait_readable(pidfd)
