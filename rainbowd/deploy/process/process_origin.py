"""The relation of a process to launches: which one started it, and whether two generations share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rainbowd.deploy.process.launches import all_launches
from rainbowd.deploy.process.membership import find_membership
from rainbowd.deploy.process.procfs import ProcReader, ancestors, read_table, session_of
from rainbowd.deploy.process.survivors import name_process

if TYPE_CHECKING:
    from collections.abc import Collection

    from rainbowd.deploy.process.launches import Launch

OWN_DAEMON = 'give each generation its own, as "env": {"PM2_HOME": "{pidfile}-pm2"} does for pm2-runtime'
"""The advice for two generations that share a daemon."""


@dataclass(frozen=True)
class Origin:
    """The origin of a process.

    Attributes:
        generation: id of the generation that it belongs to or descends from; None for a hook.
        is_foreign: it has another account than the generation.
    """

    generation: int | None
    is_foreign: bool


def find_origin(pid: int) -> Origin | None:
    """Return the origin of a process, or None if no launch started it; for a thread, as it reads all of /proc."""
    found = find_membership(read_table(), all_launches(), ProcReader())
    launch = found.owners.get(pid) or found.foreign.get(pid)
    return None if launch is None else Origin(launch.generation, is_foreign=pid in found.foreign)


def find_shared(launch: Launch, pids: Collection[int]) -> str | None:
    """Find a process whose ancestors or session belong to another generation, with which it would end.

    For a thread, as it reads all of /proc.

    Args:
        launch: the launch that the processes belong to.
        pids: numbers of the processes.

    Returns:
        The names of both processes and the advice, or None if there is no such process.
    """
    table = read_table()
    found = find_membership(table, all_launches(), ProcReader())
    for pid in pids:
        for related in (*ancestors(pid, table), *session_of(pid, table)):
            other = found.owners.get(related)
            if other is not None and other is not launch and other.generation is not None:
                starter = f"which generation {other.generation} has started ({name_process(related)})"
                return f"{name_process(pid)}, {starter}: both share one daemon; {OWN_DAEMON}"
    return None
