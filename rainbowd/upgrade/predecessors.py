"""Old agents that still finish requests, as the agent sees them: followers, whose leases are in its roster."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import trio

from rainbowd.broadcast import Broadcast
from rainbowd.peers import Follower
from rainbowd.upgrade.rendezvous import find_upgraded

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.roster import Roster


class Predecessors:
    """All old agents: the one that was replaced, and earlier ones if an agent after them was killed.

    Args:
        state_dir: in which their sockets are.
        roster: our roster.

    Attributes:
        below: see ``find_upgraded``.
    """

    def __init__(self, state_dir: Path, roster: Roster) -> None:
        self.below = math.inf
        self._state_dir = state_dir
        self._roster = roster
        self._known: dict[int, Follower] = {}
        self._one_ended = Broadcast()
        self._stop_at: float | None = None

    def find(self, nursery: trio.Nursery) -> None:
        """Connect to all old agents, in tasks of ``nursery``; no generation with their requests is stopped then."""
        found = find_upgraded(self._state_dir, {os.getpid(), *self._known}, below=self.below)
        for pid, channel in found.items():
            self.add(pid, Follower(channel, self._roster), nursery)

    def add(self, pid: int, predecessor: Follower, nursery: trio.Nursery) -> None:
        """Add an old agent, and follow it in a task.

        Args:
            pid: of the old agent.
            predecessor: the old agent.
            nursery: for the task.
        """
        self._known[pid] = predecessor
        if self._stop_at is not None:
            predecessor.stop(max(0.0, self._stop_at - trio.current_time()))
        nursery.start_soon(self._follow, pid, predecessor, nursery)

    def stop(self, seconds: float) -> None:
        """Make all old agents finish within a number of seconds from now, also those that are found later."""
        self._stop_at = trio.current_time() + seconds
        for predecessor in self._known.values():
            predecessor.stop(seconds)

    async def until_gone(self) -> None:
        """Wait until all old agents have ended."""
        while self._known:
            await self._one_ended.wait()

    async def _follow(self, pid: int, predecessor: Follower, nursery: trio.Nursery) -> None:
        await predecessor.converse()
        del self._known[pid]
        self.find(nursery)  # first: if it was killed, earlier agents may have reported their leases through it
        predecessor.forget()
        self._one_ended.notify()
