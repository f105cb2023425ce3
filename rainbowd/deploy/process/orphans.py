"""Processes that came to us when their parents ended, and that show no mark: whose they may be.

Whoever forks twice, leaves its session and clears its environment has nothing more to be known by.  But only what we
started has descendants that come to us; so it is of a generation, or of a hook, that began before it did.  Where
several did, nobody can tell which, and it is left to the last of them to end.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rainbowd.deploy.process.members import ANY_MARKER, environment
from rainbowd.deploy.process.reaping import awaited, registering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.deploy.process.members import Entry

_begun: dict[object, int] = {}
"""Of all that may have descendants, the start time of the first process, in clock ticks since boot."""

_INIT = 1


def begin(owner: object, born: int) -> None:
    """From now on there may be descendants of ``owner``, whose first process was started at ``born``."""
    _begun[owner] = born


def end(owner: object) -> None:
    """There are none of ``owner`` any more."""
    _begun.pop(owner, None)


def of(owner: object, table: Mapping[int, Entry]) -> dict[int, int]:
    """Those that can be nobody's but ``owner``'s, number to start time; may wait for a child that is being started.

    The init of a PID namespace gets the orphans of others too, so that as such we know of none.
    """
    owners = dict(_begun)
    born = owners.pop(owner, None)
    if born is None or os.getpid() == _INIT:
        return {}
    found = {
        entry.pid: entry.start_time
        for entry in table.values()
        if _has_come_to_us(entry)
        and entry.start_time >= born
        and not any(other <= entry.start_time for other in owners.values())
        and ANY_MARKER not in environment(entry.pid)
    }
    if not found:
        return {}
    with registering:  # in the middle of execve(2) a child of our own shows no mark either
        children = awaited()
    return {pid: start_time for pid, start_time in found.items() if (pid, start_time) not in children}


def _has_come_to_us(entry: Entry) -> bool:
    """Whether it is our child, and none that we started in our own session."""
    return entry.parent == os.getpid() and not entry.ended and entry.session != os.getsid(0)
