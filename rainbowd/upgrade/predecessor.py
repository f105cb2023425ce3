"""An agent before us that still finishes what it has: its leases are in our roster, and it knows what is live."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter, deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd.upgrade.leases import LeaseCounts, read_leases, tell_live
from rainbowd.upgrade.rendezvous import find_upgraded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rainbowd.roster import Generation, Roster
    from rainbowd.upgrade.channel import Channel, Message


class RemoteLease:
    """One lease of another agent ``of``: in our roster a holder like any other."""

    def __init__(self, of: Predecessor, on_cut: Callable[[], None]) -> None:
        self.of = of
        self.cut = on_cut


class Predecessor:
    """Keeps in our roster what the other leases, and tells that what is live.

    A generation may be leased there as long as it was live by what the other had heard: so one that is superseded here
    has one holder more until the other has said that it knows.  Before the other has said anything, it may have a lease
    on each.

    Args:
        link: to it.
        said: what it has said by now; None where that is nothing.
    """

    def __init__(self, link: Channel, roster: Roster, said: Message | None = None) -> None:
        self._link = link
        self._roster = roster
        self._is_handed_over = said is not None
        self._is_heard = said is not None
        self._leases = read_leases(said["leases"]) if said is not None else {}
        live = said["live"] if said is not None else None
        self._told_live: deque[tuple[int, int | None]] = deque([(0, live)])  # what may be believed there
        self._said: Mapping[str, object] = {}
        self._number = 0
        self._to_cut: Counter[tuple[int, bool]] = Counter()
        self._changed = trio.Event()
        self._is_gone = False
        self._stop_seconds: float | None = None
        self._counted: dict[int, int] = {}
        roster.observe(self._keep)

    async def hear(self) -> None:
        """Until it has gone: hear what it leases, and tell it what is live."""
        with contextlib.closing(self._link):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell)
                with contextlib.suppress(EOFError):
                    while True:
                        message, _ = await self._link.receive()
                        if message["kind"] == "leases":
                            self._heed(message)
                nursery.cancel_scope.cancel()

    def forget(self) -> None:
        """It has gone, and all its leases with it."""
        self._is_gone = self._is_heard = True
        self._leases = {number: replace(there, in_flight=0, tunnels=0) for number, there in self._leases.items()}
        self._told_live.clear()
        self._keep()

    def stop(self, seconds: float) -> None:
        """Have it finish within so many seconds."""
        self._stop_seconds = seconds
        self._changed.set()

    def _heed(self, message: Message) -> None:
        self._leases = read_leases(message["leases"])
        if not self._is_heard:
            self._is_heard = True
            self._told_live[0] = (0, message["live"])
        while self._told_live[0][0] < message["heard"]:
            self._told_live.popleft()
        self._keep()

    # --- our roster -----------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Give every generation as many holders as it has there."""
        said = tell_live(self._roster)
        is_known = self._is_handed_over or self._number > 0 or said["live"] is not None  # else nothing is adopted yet
        if is_known and said != self._said and not self._is_gone:
            self._said = said
            self._number += 1
            live = said["live"]
            self._told_live.append((self._number, live["id"] if live is not None else None))
            self._changed.set()
        believed = {live for _, live in self._told_live}
        for number, generation in list(self._roster.generations.items()):
            there = self._leases.get(number, LeaseCounts())
            is_over, is_unknown = generation is not self._roster.live, not self._is_heard
            may_come = is_over and (is_unknown or number in believed)
            self._match(generation, there.in_flight + may_come, tunnels=False)
            self._match(generation, there.tunnels + (is_over and is_unknown), tunnels=True)
            if self._is_handed_over:  # else one that was killed counted them
                generation.requests += there.requests - self._counted.get(number, 0)
                self._counted[number] = there.requests

    def _match(self, generation: Generation, count: int, *, tunnels: bool) -> None:
        holders = generation.tunnels if tunnels else generation.holders
        theirs = [one for one in holders if isinstance(one, RemoteLease) and one.of is self]
        for holder in theirs[count:]:
            generation.release_lease(holder)
        for _ in range(count - len(theirs)):
            holders.add(RemoteLease(self, partial(self._cut, generation.id, tunnels)))

    def _cut(self, generation: int, tunnels: bool) -> None:
        self._to_cut[generation, tunnels] += 1
        self._changed.set()

    async def _tell(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            if self._stop_seconds is not None:
                await self._link.send("stop", seconds=self._stop_seconds)
                self._stop_seconds = None
            if self._number > 0:
                await self._link.send("live", number=self._number, **self._said)
            to_cut, self._to_cut = self._to_cut, Counter()
            for (generation, tunnels), count in to_cut.items():
                await self._link.send("cut", generation=generation, count=count, tunnels=tunnels)


class Predecessors:
    """All of them: the one that we take the place of, and those that are found behind one that was killed.

    Args:
        state_dir: where they are found.

    Attributes:
        below: see ``find_upgraded``.
    """

    def __init__(self, state_dir: Path, roster: Roster) -> None:
        self.below = math.inf
        self._state_dir = state_dir
        self._roster = roster
        self._known: dict[int, Predecessor] = {}
        self._gone = trio.Event()
        self._stop_at: float | None = None

    def look(self, nursery: trio.Nursery) -> None:
        """Find those that are there; from now on nothing is stopped that one of them may have a request on."""
        for pid, link in find_upgraded(self._state_dir, {os.getpid(), *self._known}, below=self.below).items():
            self.add(pid, Predecessor(link, self._roster), nursery)

    def add(self, pid: int, predecessor: Predecessor, nursery: trio.Nursery) -> None:
        """One more, which a task of ``nursery`` listens to."""
        self._known[pid] = predecessor
        if self._stop_at is not None:
            predecessor.stop(max(0.0, self._stop_at - trio.current_time()))
        nursery.start_soon(self._follow, pid, predecessor, nursery)

    def stop(self, seconds: float) -> None:
        """Have all finish within so many seconds."""
        self._stop_at = trio.current_time() + seconds
        for predecessor in self._known.values():
            predecessor.stop(seconds)

    async def until_gone(self) -> None:
        """Wait until there is none any more."""
        while self._known:
            await self._gone.wait()

    async def _follow(self, pid: int, predecessor: Predecessor, nursery: trio.Nursery) -> None:
        await predecessor.hear()
        del self._known[pid]
        self.look(nursery)  # before it is forgotten: it may have stood for others behind it, and was killed
        predecessor.forget()
        gone, self._gone = self._gone, trio.Event()
        gone.set()
