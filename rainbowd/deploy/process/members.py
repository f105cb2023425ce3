"""Which processes are a generation's, as /proc shows them (proc(5)).

A process is ours by any of these, for each of them can be lost: descent (its parent ends), its session
(setsid), the marker in its environment (a process may write its title over it), or that it was ours when we
last looked.  A process group never reaches beyond its session (setpgid(2)), so the session stands for the
group.  A number alone tells nothing, since the kernel gives it out again: a process is its number and its
start time, and a session counts only while one of our processes is in it.

We read /proc ourselves rather than with psutil, which tells no session, gives start times by a clock that may be set,
so that no record could hold them, and takes four times as long for a look at all processes.
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

from rainbowd.deploy.process.owner import as_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

_PROC = Path("/proc")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
_STATE, _PARENT, _SESSION, _THREADS, _START_TIME = (
    0,
    1,
    3,
    17,
    19,
)  # of what follows the name in /proc/PID/stat
_PIDFILE_BYTES = 32
_EXEC_TRIES, _EXEC_SECONDS = 5, 0.001
ANY_MARKER = b"RAINBOWD_STATE_DIR="
HOOK = "RAINBOWD_HOOK"
"""The variable that the processes of a hook have and those of a generation have not."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One process, as it was a moment ago.

    Attributes:
        start_time: in clock ticks since boot.
        ended: it is a zombie; one whose first thread has ended while others run is not.
    """

    pid: int
    parent: int
    session: int
    start_time: int
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What a generation's processes have in common from their first instruction on.

    Attributes:
        born: start time of the first, in clock ticks since boot; none of them is older.
        environment: the variables that no other generation's processes have, as ``NAME=VALUE``.
        is_of_hook: it is a hook's.
    """

    born: int
    environment: frozenset[bytes]
    is_of_hook: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """A generation's processes at one moment.

    Attributes:
        live: oldest first.
        ended: zombies.
        named: the one that the pidfile names, live or not.
    """

    live: tuple[Entry, ...]
    ended: tuple[Entry, ...]
    named: Entry | None


def mark(born: int, state_dir: str, generation: int) -> Mark:
    """The mark of one generation."""
    variables = (f"RAINBOWD_STATE_DIR={state_dir}", f"RAINBOWD_GENERATION={generation}")
    return Mark(born, frozenset(map(os.fsencode, variables)))


def hook_mark(born: int, env: Mapping[str, str]) -> Mark:
    """The mark of one run of a hook, which has the environment ``env``."""
    names = ("RAINBOWD_STATE_DIR", "RAINBOWD_GENERATION", "RAINBOWD_DEPLOY", HOOK)
    return Mark(born, frozenset(os.fsencode(f"{name}={env[name]}") for name in names), is_of_hook=True)


def look(
    table: Mapping[int, Entry], known: Mapping[int, int], mark: Mark, pidfile: Path, others: Collection[int]
) -> Members:
    """Find a generation's processes; reads much of /proc, so call it in a thread.

    Args:
        table: see ``read_table``.
        known: those seen before, number to start time.
        mark: of the generation.
        pidfile: of the generation; what it names is believed only if that is alive, ours and no older than
            the launch.
        others: children of this process that are known not to be this generation's.
    """
    named = table.get(read_pidfile(pidfile) or 0)
    if named is not None and named.pid not in others and _is_unmarked_orphan(named, mark):
        known = {**known, named.pid: named.start_time}
    ours = family(table, known, mark.born, lambda pid: is_marked(pid, mark))
    live = tuple(sorted((e for e in ours.values() if not e.ended), key=lambda e: (e.start_time, e.pid)))
    ended = tuple(e for e in ours.values() if e.ended)
    return Members(live, ended, named if named in ours.values() else None)


def family(
    table: Mapping[int, Entry], known: Mapping[int, int], born: int, marked: Callable[[int], bool]
) -> dict[int, Entry]:
    """All in ``table`` that are known or marked, live in a session with one of these, or descend from one.

    Session 0 is that of the kernel's own threads, and of processes from outside of our PID namespace.
    """
    young = {pid: entry for pid, entry in table.items() if entry.start_time >= born and pid != os.getpid()}
    ours = {
        pid: entry
        for pid, entry in young.items()
        if known.get(pid) == entry.start_time or (entry.session and not entry.ended and marked(pid))
    }
    while True:
        sessions = {entry.session for entry in ours.values()} - {0, os.getsid(0)}
        more = {
            pid: entry
            for pid, entry in young.items()
            if pid not in ours and (entry.session in sessions or entry.parent in ours)
        }
        if not more:
            return ours
        ours |= more


def read_table() -> dict[int, Entry]:
    """Every process that we may see, by number."""
    pids = (int(name) for name in os.listdir(_PROC) if name.isdecimal())  # noqa: PTH208 - names are wanted
    return {entry.pid: entry for pid in pids if (entry := read_entry(pid)) is not None}


def read_entry(pid: int) -> Entry | None:
    """The process ``pid``, or None where there is none, or none that we may see."""
    try:
        line = (_PROC / str(pid) / "stat").read_bytes()
    except _GONE:
        return None
    fields = line[line.rindex(b")") + 1 :].split()  # a name may have blanks and brackets
    ended = fields[_STATE] in {b"Z", b"X"} and int(fields[_THREADS]) <= 1
    return Entry(pid, int(fields[_PARENT]), int(fields[_SESSION]), int(fields[_START_TIME]), ended)


def read_pidfile(path: Path) -> int | None:
    """The number in a pidfile; None unless it is a regular file with one number and nothing else."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(file, _PIDFILE_BYTES)
    except OSError:  # a directory, or a named pipe that somebody writes to
        return None
    finally:
        os.close(file)
    return int(text) if re.fullmatch(rb"\s*[1-9][0-9]{0,9}\s*", text) else None


def is_marked(pid: int, mark: Mark) -> bool:
    """Whether the environment that ``pid`` was started with has the mark.

    A process in the middle of execve(2) shows none for an instant, so none is asked for again.
    """
    for _ in range(_EXEC_TRIES):
        variables = environment(pid)
        if variables:
            is_of_hook = re.search(rb"(\A|\0)" + HOOK.encode() + b"=", variables) is not None
            return is_of_hook == mark.is_of_hook and mark.environment <= set(variables.split(b"\0"))
        time.sleep(_EXEC_SECONDS)
    return False


def _is_unmarked_orphan(entry: Entry, mark: Mark) -> bool:
    """Whether ``entry`` came to us when its parent ended, and has written over its environment.

    Only what we started has descendants that come to us, so that it is some generation's; which, its pidfile
    says.
    """
    young_orphan = entry.parent == os.getpid() and entry.start_time >= mark.born
    return young_orphan and ANY_MARKER not in environment(entry.pid)


def environment(pid: int) -> bytes:
    """What ``pid`` was started with, or has written over that; empty where it cannot be read."""
    try:
        with as_owner(pid):
            return (_PROC / str(pid) / "environ").read_bytes()
    except OSError:  # gone, or not for us to read
        return b""


def hold(pid: int, start_time: int) -> int:
    """A pidfd of the process that has this number and this start time; -1 where there is none any more."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in {errno.ESRCH, errno.EINVAL, errno.ENOENT}:  # the latter two: a thread has got the number
            return -1
        raise
    now = read_entry(pid)
    if now is not None and now.start_time == start_time:
        return pidfd
    os.close(pidfd)
    return -1


@contextmanager
def held(entry: Entry) -> Iterator[int]:
    """A pidfd of the process that ``entry`` is.

    Raises:
        ProcessLookupError: it is gone, even if another has its number.
    """
    pidfd = hold(entry.pid, entry.start_time)
    if pidfd < 0:
        raise ProcessLookupError(entry.pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def tell(entry: Entry, signum: int) -> None:
    """Send a signal to the process that ``entry`` is, if it is still there and we may."""
    with suppress(ProcessLookupError, PermissionError), held(entry) as pidfd:
        pidfd_send_signal(pidfd, signum)


async def until_ended(entry: Entry) -> None:
    """Wait until the process that ``entry`` is has ended."""
    with suppress(ProcessLookupError), held(entry) as pidfd:
        await trio.lowlevel.wait_readable(pidfd)
