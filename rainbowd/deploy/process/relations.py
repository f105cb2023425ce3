"""How a process is related to launches: who started it, and whether two generations share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rainbowd.deploy.process.attribution import attribute
from rainbowd.deploy.process.claims import all_claims
from rainbowd.deploy.process.procfs import Sight, ancestors, read_table, session_of
from rainbowd.deploy.process.survivors import name_process

if TYPE_CHECKING:
    from collections.abc import Collection

    from rainbowd.deploy.process.claims import Claim

OWN_DAEMON = 'give each generation its own, as "env": {"PM2_HOME": "{pidfile}-pm2"} does for pm2-runtime'
"""The way out for two generations that share a daemon."""


@dataclass(frozen=True)
class Origin:
    """Where a process comes from.

    Attributes:
        generation: the number of the generation that it belongs to, or descends from if ``is_foreign``.
        is_foreign: it is another account's.
    """

    generation: int | None
    is_foreign: bool


def find_origin(pid: int) -> Origin | None:
    """Return where a process comes from, or None if no launch started it; reads all of /proc."""
    found = attribute(read_table(), all_claims(), Sight())
    claim = found.owners.get(pid) or found.foreign.get(pid)
    return None if claim is None else Origin(claim.generation, is_foreign=pid in found.foreign)


def find_shared(claim: Claim, pids: Collection[int]) -> str | None:
    """Find a process that another generation has started, or that lives in a session of another generation.

    Such a process would go with the other generation. Reads all of /proc.

    Args:
        claim: of the launch that the processes belong to.
        pids: of the processes.

    Returns:
        The names of both and the way out, or None if there is none.
    """
    table = read_table()
    found = attribute(table, all_claims(), Sight())
    for pid in pids:
        for related in (*ancestors(pid, table), *session_of(pid, table)):
            other = found.owners.get(related)
            if other is not None and other is not claim and other.generation is not None:
                starter = f"which generation {other.generation} has started ({name_process(related)})"
                return f"{name_process(pid)}, {starter}: both share one daemon; {OWN_DAEMON}"
    return None
