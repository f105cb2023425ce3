"""Old agents that still finish requests, as the agent sees them: their leases are in its roster."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter, deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd.broadcast import Broadcast
from rainbowd.upgrade.rendezvous import find_upgraded
from rainbowd.upgrade.roster_messages import LeaseCounts, decode_leases, encode_live

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rainbowd.roster import Generation, Roster
    from rainbowd.upgrade.channel import Channel, Message


class RemoteLease:
    """A lease of an old agent, which holds a generation in our roster like any other lease.

    Attributes:
        owner: the old agent.
        cut: makes the old agent cut one request or tunnel of that generation.
    """

    def __init__(self, owner: Predecessor, on_cut: Callable[[], None]) -> None:
        self.owner = owner
        self.cut = on_cut

    def visitor(self, by: str) -> bytes:
        """Return nothing: the old agent has chosen the generation of this request."""
        del by
        return b""


class Predecessor:
    """One old agent: keeps its leases in our roster, and reports to it which generation is live.

    The old agent keeps leasing a generation for as long as it believes that generation is live.  So when a generation
    is superseded here, it has one extra holder until the old agent acknowledges the switch.  Before the old agent's
    first report it may have a lease on any generation.

    Args:
        channel: to the old agent.
        roster: our roster.
        first_report: its leases and its live generation; None if they are not known yet.
    """

    def __init__(self, channel: Channel, roster: Roster, first_report: Message | None = None) -> None:
        self._channel = channel
        self._roster = roster
        self._is_handed_over = first_report is not None
        self._has_reported = first_report is not None
        self._leases = decode_leases(first_report["leases"]) if first_report is not None else {}
        live = first_report["live"] if first_report is not None else None
        self._maybe_live: deque[tuple[int, int | None]] = deque([(0, live)])  # acknowledged last, and later
        self._sent_live: Mapping[str, object] = {}
        self._sent_number = 0
        self._to_cut: Counter[tuple[int, bool]] = Counter()
        self._changed = trio.Event()
        self._has_ended = False
        self._stop_seconds: float | None = None
        self._counted: dict[int, int] = {}
        roster.observe(self._update_roster)

    async def converse(self) -> None:
        """Receive its leases, and send it the live generation, until it has ended."""
        with contextlib.closing(self._channel):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_loop)
                with contextlib.suppress(EOFError):
                    await self._receive_loop()
                nursery.cancel_scope.cancel()

    def forget(self) -> None:
        """Release all its leases, because it has ended."""
        self._has_ended = self._has_reported = True
        self._leases = {number: replace(counts, in_flight=0, tunnels=0) for number, counts in self._leases.items()}
        self._maybe_live.clear()
        self._update_roster()

    def stop(self, seconds: float) -> None:
        """Make it finish within a number of seconds."""
        self._stop_seconds = seconds
        self._changed.set()

    async def _receive_loop(self) -> None:
        while True:
            message, _ = await self._channel.receive()
            if message["kind"] == "leases":
                self._handle_leases(message)

    async def _send_loop(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            if self._stop_seconds is not None:
                await self._channel.send("stop", seconds=self._stop_seconds)
                self._stop_seconds = None
            if self._sent_number > 0:
                await self._channel.send("live", number=self._sent_number, **self._sent_live)
            to_cut, self._to_cut = self._to_cut, Counter()
            for (generation, tunnels), count in to_cut.items():
                await self._channel.send("cut", generation=generation, count=count, tunnels=tunnels)

    def _handle_leases(self, message: Message) -> None:
        self._leases = decode_leases(message["leases"])
        if not self._has_reported:
            self._has_reported = True
            self._maybe_live[0] = (0, message["live"])
        while self._maybe_live[0][0] < message["heard"]:
            self._maybe_live.popleft()
        self._update_roster()

    # --- our roster -----------------------------------------------------------------------------------------------

    def _update_roster(self) -> None:
        """Give every generation as many holders as the old agent has, or may have, on it."""
        live = encode_live(self._roster)
        is_known = self._is_handed_over or self._sent_number > 0 or live["live"] is not None  # else nothing is adopted
        if is_known and live != self._sent_live and not self._has_ended:
            self._sent_live = live
            self._sent_number += 1
            self._maybe_live.append((self._sent_number, live["live"]["id"] if live["live"] is not None else None))
            self._changed.set()
        believed = {generation for _, generation in self._maybe_live}
        for number, generation in list(self._roster.generations.items()):
            counts = self._leases.get(number, LeaseCounts())
            is_superseded, is_unknown = generation is not self._roster.live, not self._has_reported
            may_lease = is_superseded and (is_unknown or number in believed)
            self._match(generation, counts.in_flight + may_lease, tunnels=False)
            self._match(generation, counts.tunnels + (is_superseded and is_unknown), tunnels=True)
            if self._is_handed_over:  # else an agent that was killed has counted them
                generation.requests += counts.requests - self._counted.get(number, 0)
                self._counted[number] = counts.requests

    def _match(self, generation: Generation, count: int, *, tunnels: bool) -> None:
        """Add or release holders of a generation until ``count`` of them are the old agent's."""
        holders = generation.tunnels if tunnels else generation.holders
        leases = [one for one in holders if isinstance(one, RemoteLease) and one.owner is self]
        for lease in leases[count:]:
            generation.release_lease(lease)
        for _ in range(count - len(leases)):
            holders.add(RemoteLease(self, partial(self._cut, generation.id, tunnels)))

    def _cut(self, generation: int, tunnels: bool) -> None:
        self._to_cut[generation, tunnels] += 1
        self._changed.set()


class Predecessors:
    """All old agents: the one that was replaced, and others that are found if an agent between was killed.

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
        self._known: dict[int, Predecessor] = {}
        self._one_ended = Broadcast()
        self._stop_at: float | None = None

    def find(self, nursery: trio.Nursery) -> None:
        """Connect to the old agents that exist; after this no generation is stopped that has a request of one."""
        found = find_upgraded(self._state_dir, {os.getpid(), *self._known}, below=self.below)
        for pid, channel in found.items():
            self.add(pid, Predecessor(channel, self._roster), nursery)

    def add(self, pid: int, predecessor: Predecessor, nursery: trio.Nursery) -> None:
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

    async def _follow(self, pid: int, predecessor: Predecessor, nursery: trio.Nursery) -> None:
        await predecessor.converse()
        del self._known[pid]
        self.find(nursery)  # before it is forgotten: if it was killed, it may have stood for agents before it
        predecessor.forget()
        self._one_ended.notify()
