"""The agent that comes: it takes what it is offered, and keeps the leases of the one before in its roster."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter, deque
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.errors import UsageError
from rainbowd.renewal.leases import Leases, read_leases, tell_live
from rainbowd.renewal.link import Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import TypeVar

    from rainbowd.renewal.link import Message
    from rainbowd.roster import Generation, Roster

    T = TypeVar("T")

FORMAT = 1
"""Of what the two tell each other; raised when a reader of the one before could misread it."""

VARIABLE = "RAINBOWD_RENEWAL"
"""In the environment of the new program: the descriptor of its end of the link."""

_STDERR = 2


@dataclass(frozen=True)
class Socket:
    """A listening socket that is handed over.

    Attributes:
        asked: the address by which the config asks for it; None for one that systemd handed over.
        part: ``proxy`` or ``api``.
    """

    sock: socket.socket
    asked: str | None
    part: str


@dataclass(frozen=True)
class Offer:
    """What an agent offers to its successor.

    Attributes:
        pid, version: of the agent that offers.
        state_dir: which stays what it is.
        soft_limit: of open files, as the first agent was started with.
        lock_fd: of the state directory.
        sockets: that listen.
    """

    link: Link
    pid: int
    version: str
    state_dir: Path
    soft_limit: int
    lock_fd: int
    sockets: list[Socket]
    stderr_fd: int

    def accept(self) -> Message:
        """Say that we are prepared; returns when all is ours, with what ``Incoming`` wants to know.

        Raises:
            UsageError: the other has gone, or has changed its mind.
        """

        async def accept() -> Message:
            await self.link.send("prepared")
            message, _ = await self.link.expect("yours")
            return message

        return _run(accept)


def receive_offer(environ: MutableMapping[str, str]) -> Offer | None:
    """What an agent that started us offers; None where none did.

    Args:
        environ: ours; what tells of it is removed.

    Raises:
        UsageError: it is of another format.
    """
    fd = environ.pop(VARIABLE, "")
    if not fd.isdigit():
        return None
    os.set_inheritable(int(fd), False)
    link = Link(socket.socket(fileno=int(fd)))

    async def receive() -> Offer:
        try:
            return await _read_offer(link)
        except BaseException:
            link.close()
            raise

    return _run(receive)


async def _read_offer(link: Link) -> Offer:
    message, (lock_fd, stderr_fd, *listening) = await link.expect("offer")
    if message["format"] != FORMAT:
        raise UsageError(
            f"renewal: rainbowd {message['version']} hands over in format {message['format']}, this version takes "
            f"{FORMAT}; restart the agent instead"
        )
    sockets = [
        Socket(socket.socket(fileno=fd), told["asked"], told["part"])
        for fd, told in zip(listening, message["sockets"], strict=True)
    ]
    return Offer(
        link=link,
        pid=message["pid"],
        version=message["version"],
        state_dir=Path(message["state_dir"]),
        soft_limit=message["soft_limit"],
        lock_fd=lock_fd,
        sockets=sockets,
        stderr_fd=stderr_fd,
    )


def _run(talk: Callable[[], Awaitable[T]]) -> T:
    try:
        return trio.run(talk)
    except EOFError:
        raise UsageError("renewal: the agent to be renewed has gone") from None


class Elsewhere:
    """One lease that the outgoing agent has: in our roster a holder like any other."""

    def __init__(self, on_cut: Callable[[], None]) -> None:
        self.cut = on_cut


class Incoming:
    """Keeps in our roster what the outgoing agent leases, and tells that what is live.

    A generation may be leased there as long as it was live by what the other had heard: so one that is superseded here
    has one holder more until the other has said that it knows.

    Args:
        offer: of the other.
        yours: what it said when all became ours.

    Attributes:
        gone: set once the other has no lease any more, and has ended.
    """

    def __init__(self, offer: Offer, yours: Message, roster: Roster) -> None:
        self.offer = offer
        self._link = offer.link
        self._leases = read_leases(yours["leases"])
        self._roster = roster
        self._told_live: deque[tuple[int, int | None]] = deque([(0, yours["live"])])  # what may be believed there
        self._said: dict[str, object] = {}
        self._number = 0
        self._to_cut: Counter[tuple[int, bool]] = Counter()
        self._changed = trio.Event()
        self.gone = trio.Event()
        self._stop_seconds: float | None = None
        self._counted: dict[int, int] = {}
        roster.observe(self._keep)

    async def ready(self, listening: set[int]) -> None:
        """Say that we are the agent now.

        Args:
            listening: the descriptors that we listen by; what was offered and is not among them is closed.
        """
        taken = [one.sock.fileno() in listening for one in self.offer.sockets]
        os.dup2(self.offer.stderr_fd, _STDERR)
        os.close(self.offer.stderr_fd)
        for one, is_taken in zip(self.offer.sockets, taken, strict=True):
            if not is_taken:
                one.sock.close()
        await self._link.send("ready", taken=taken)

    async def run(self) -> None:
        """Until the other has gone: hear what it leases, and tell it what is live."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell)
            with contextlib.suppress(EOFError):
                while True:
                    message, _ = await self._link.receive()
                    if message["kind"] == "leases":
                        self._leases = read_leases(message["leases"])
                        while self._told_live[0][0] < message["heard"]:
                            self._told_live.popleft()
                        self._keep()
            nursery.cancel_scope.cancel()
        self._leases = {number: replace(there, in_flight=0, tunnels=0) for number, there in self._leases.items()}
        self._told_live.clear()
        self.gone.set()
        self._keep()
        self._link.close()

    def stop(self, seconds: float) -> None:
        """Have the other finish within so many seconds."""
        self._stop_seconds = seconds
        self._changed.set()

    # --- our roster -----------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Give every generation as many holders as it has there."""
        said = tell_live(self._roster)
        if said != self._said and not self.gone.is_set():
            self._said = said
            self._number += 1
            live = said["live"]
            self._told_live.append((self._number, live["id"] if live is not None else None))
            self._changed.set()
        believed = {live for _, live in self._told_live}
        for number, generation in list(self._roster.generations.items()):
            there = self._leases.get(number, Leases())
            may_come = number in believed and generation is not self._roster.live
            self._match(generation, there.in_flight + may_come, tunnels=False)
            self._match(generation, there.tunnels, tunnels=True)
            generation.requests += there.requests - self._counted.get(number, 0)
            self._counted[number] = there.requests

    def _match(self, generation: Generation, count: int, *, tunnels: bool) -> None:
        holders = generation.tunnels if tunnels else generation.holders
        elsewhere = [holder for holder in holders if isinstance(holder, Elsewhere)]
        for holder in elsewhere[count:]:
            generation.release_lease(holder)
        for _ in range(count - len(elsewhere)):
            holders.add(Elsewhere(partial(self._cut, generation.id, tunnels)))

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
            said, number = self._said, self._number
            await self._link.send("live", number=number, **said)
            to_cut, self._to_cut = self._to_cut, Counter()
            for (generation, tunnels), count in to_cut.items():
                await self._link.send("cut", generation=generation, count=count, tunnels=tunnels)
