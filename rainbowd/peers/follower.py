"""A process that leases our generations, as the agent sees it: its leases are in the agent's roster."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict, deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd.peers.messages import Cut, LeaseCounts, Leases, Live, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from rainbowd.peers.channel import Channel
    from rainbowd.peers.messages import Message
    from rainbowd.roster import Generation, Roster, RosterView

Ids = frozenset[int]


class RemoteLease:
    """A lease of a follower, which holds a generation in our roster like any other lease.

    Attributes:
        cut: makes the follower cut one request or tunnel of that generation.
    """

    def __init__(self, on_cut: Callable[[], None]) -> None:
        self.cut = on_cut

    def client_identity(self, by: str) -> bytes:
        """Return nothing: the follower has chosen the generation of this request."""
        del by
        return b""


class Follower:
    """One follower: keeps its leases in our roster, and sends it the state of the roster.

    A follower keeps leasing a generation for as long as its state of the roster allows it.  So when a generation stops
    serving here, it has one extra holder until the follower acknowledges that.  Before the first report of an old agent
    that was found again, it may have a lease on any generation.

    Args:
        channel: to the follower.
        roster: our roster.
        first_report: its leases and its live generation; None if they are not known yet.

    Attributes:
        sent_view: the last state that was sent; None before the first.
        is_paused: whether it was sent a pause; until it acknowledges the pause, it may give leases.
    """

    def __init__(self, channel: Channel, roster: Roster, first_report: Leases | None = None) -> None:
        self.is_paused = False
        self._channel = channel
        self._roster = roster
        self._is_handed_over = first_report is not None
        self._has_reported = first_report is not None
        self._report = first_report or Leases()
        self._may_lease: deque[tuple[int, Ids]] = deque([(0, _ids(self._report.live))])  # acknowledged last, and later
        self.sent_view: RosterView | None = None
        self._sent_number = 0
        self._outbox: deque[tuple[Message, Sequence[int]]] = deque()
        self._to_cut: Counter[tuple[int, bool]] = Counter()
        self._changed = trio.Event()
        self._has_ended = False
        self._held: defaultdict[tuple[Generation, bool], list[RemoteLease]] = defaultdict(list)
        self._counted: dict[int, LeaseCounts] = {}
        self._judged = set(self._report.leases)
        roster.observe(self._update_roster)

    async def converse(self) -> None:
        """Receive its reports, and send it what changes, until it has ended."""
        with contextlib.closing(self._channel):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_loop)
                with contextlib.suppress(EOFError):
                    await self._receive_loop()
                nursery.cancel_scope.cancel()

    def forget(self) -> None:
        """Release all its leases, because it has ended."""
        self._has_ended = self._has_reported = True
        none = {number: replace(counts, in_flight=0, tunnels=0) for number, counts in self._report.leases.items()}
        self._report = Leases(none)
        self._may_lease.clear()
        self._update_roster()
        self._roster.forget_observer(self._update_roster)

    def stop(self, seconds: float) -> None:
        """Make it finish within a number of seconds."""
        self.send(Stop(seconds))

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message that changes no lease, with descriptors that stay open in this process."""
        self._outbox.append((message, descriptors))
        self._flush()

    def send_numbered(self, make_message: Callable[[int], Message]) -> None:
        """Send a message that changes what it serves; ``make_message`` gets the number of the message."""
        self._sent_number += 1
        view = self.sent_view
        self._may_lease.append((self._sent_number, frozenset() if view is None else _ids(view.live, view.canary)))
        self.send(make_message(self._sent_number))
        self.on_sent(self._sent_number)

    def send_roster(self) -> None:
        """Send the state of the roster, if the follower does not have it."""
        view = self.view()
        if view != self.sent_view and not self._has_ended:
            if self._outbox and isinstance(self._outbox[-1][0], Live):  # it hangs, and will never have that state
                self._outbox.pop()
                self._may_lease.pop()
            self.sent_view = view
            self.send_numbered(partial(_live, view))

    def view(self) -> RosterView:
        """Return the state of the roster for the follower."""
        return self._roster.view()

    def on_sent(self, number: int) -> None:
        """Note the number of the last message that changes what the follower serves."""

    def handle(self, content: Mapping[str, Any]) -> None:
        """Handle a message that is not a report of leases."""

    async def _receive_loop(self) -> None:
        while True:
            content, _ = await self._channel.receive()
            if content["kind"] == Leases.kind:
                self._handle_leases(Leases.read(content))
            else:
                self.handle(content)

    async def _send_loop(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            to_cut, self._to_cut = self._to_cut, Counter()
            for (generation, tunnels), count in to_cut.items():
                self._outbox.append((Cut(generation, count, tunnels), ()))
            self._flush()
            if self._outbox:
                await self._channel.wait_writable()
                self._changed.set()

    def _flush(self) -> None:
        """Send what there is room for; the follower reads at once, so there is, unless it hangs."""
        while self._outbox:
            if not self._channel.send_now(*self._outbox[0]):
                self._changed.set()
                return
            self._outbox.popleft()

    def _handle_leases(self, report: Leases) -> None:
        self._report = report
        if not self._has_reported:
            self._has_reported = True
            self._may_lease[0] = (0, _ids(report.live))
        while self._may_lease[0][0] < report.heard:
            self._may_lease.popleft()
        self._update_roster()
        for number in report.refusing:
            generation = self._roster.generations.get(number)
            if generation is not None and generation.on_refusing is not None:
                generation.on_refusing()

    # --- our roster -----------------------------------------------------------------------------------------------

    def _update_roster(self) -> None:
        """Give every generation as many holders as the follower has, or may have, on it."""
        # Until this agent has adopted a generation, its roster has nothing that the follower can use.
        if self._is_handed_over or self._sent_number > 0 or self._roster.live is not None:
            self.send_roster()
        believed = frozenset[int]().union(*(ids for _, ids in self._may_lease))
        is_unheard = len(self._may_lease) > 1
        for number, generation in list(self._roster.generations.items()):
            counts = self._report.leases.get(number, LeaseCounts())
            is_superseded, is_unknown = not generation.is_serving, not self._has_reported
            may_lease = is_superseded and (is_unknown or number in believed)
            may_lease |= self.is_paused and is_unheard and generation.is_serving
            if self._is_handed_over:  # otherwise an agent that was killed has already counted them
                self._count(generation, counts, self._report.failed.get(number, ()))
            self._match(generation, counts.in_flight + may_lease, tunnels=False)
            self._match(generation, counts.tunnels + (is_superseded and is_unknown), tunnels=True)
        for key in [key for key in self._held if key[0].id not in self._roster.generations]:
            del self._held[key]

    def _count(self, generation: Generation, counts: LeaseCounts, failed: Sequence[str]) -> None:
        """Count the requests and errors that are new; those of the first report were judged by the old agent."""
        before = self._counted.get(generation.id, LeaseCounts())
        self._counted[generation.id] = counts
        generation.requests += counts.requests - before.requests
        new_errors = counts.errors - before.errors
        if generation.id in self._judged:
            self._judged.discard(generation.id)
            generation.errors += new_errors
            return
        for index in range(new_errors):
            generation.count_error(failed[min(index, len(failed) - 1)] if failed else "error")

    def _match(self, generation: Generation, count: int, *, tunnels: bool) -> None:
        """Add or release holders of a generation until ``count`` of them are the follower's."""
        leases = self._held[generation, tunnels]
        for _ in range(count - len(leases)):
            leases.append(RemoteLease(partial(self._cut, generation.id, tunnels)))
            (generation.tunnels if tunnels else generation.holders).add(leases[-1])
        while len(leases) > count:
            generation.release_lease(leases.pop())

    def _cut(self, generation: int, tunnels: bool) -> None:
        self._to_cut[generation, tunnels] += 1
        self._changed.set()


def _live(view: RosterView, number: int) -> Live:
    return Live(number, view)


def _ids(*numbers: int | None) -> Ids:
    return frozenset(number for number in numbers if number is not None)
