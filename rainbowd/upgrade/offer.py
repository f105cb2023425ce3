"""The agent that comes: it takes what it is offered."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.errors import UsageError
from rainbowd.prctl import set_pdeathsig
from rainbowd.upgrade.channel import Channel
from rainbowd.upgrade.predecessor import Predecessor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import TypeVar

    from rainbowd.roster import Roster
    from rainbowd.upgrade.channel import Message

    T = TypeVar("T")

FORMAT = 1
"""Of what the two tell each other; raised when a reader of the one before could misread it."""

VARIABLE = "RAINBOWD_UPGRADE"
"""In the environment of the new program: the descriptor of its end of the link."""

_STDERR = 2
_GONE = "upgrade: the agent to be upgraded has gone"


@dataclass(frozen=True)
class OfferedSocket:
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
        config: the file that it runs by; None from a version that does not say so.
        directory: where it was started, which relative paths of the command line begin at.
        lock_fd: of the state directory.
        sockets: that listen.
    """

    link: Channel
    pid: int
    version: str
    state_dir: Path
    soft_limit: int
    config: Path | None
    directory: Path
    lock_fd: int
    sockets: list[OfferedSocket]
    stderr_fd: int

    def end_alone(self) -> None:
        """The end of the other is not ours any more; until now it was, so that the next start would not find us."""
        set_pdeathsig(None)
        if os.getppid() != self.pid:
            os.kill(os.getpid(), signal.SIGKILL)

    def accept(self) -> Message:
        """Say that we are prepared; returns when all is ours, with what ``ReplacedAgent`` wants to know.

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
    link = Channel(socket.socket(fileno=int(fd)))

    async def receive() -> Offer:
        try:
            return await _read_offer(link)
        except BaseException:
            link.close()
            raise

    return _run(receive)


async def _read_offer(link: Channel) -> Offer:
    message, (lock_fd, stderr_fd, *listening) = await link.expect("offer")
    if message["format"] != FORMAT:
        raise UsageError(
            f"upgrade: rainbowd {message['version']} hands over in format {message['format']}, this version takes "
            f"{FORMAT}; restart the agent instead"
        )
    sockets = [
        OfferedSocket(socket.socket(fileno=fd), told["asked"], told["part"])
        for fd, told in zip(listening, message["sockets"], strict=True)
    ]
    return Offer(
        link=link,
        pid=message["pid"],
        version=message["version"],
        state_dir=Path(message["state_dir"]),
        soft_limit=message["soft_limit"],
        config=Path(message["config"]) if message.get("config") else None,
        directory=Path(message.get("directory") or "/"),
        lock_fd=lock_fd,
        sockets=sockets,
        stderr_fd=stderr_fd,
    )


def _run(talk: Callable[[], Awaitable[T]]) -> T:
    try:
        return trio.run(talk)
    except EOFError:
        raise UsageError(_GONE) from None


class ReplacedAgent(Predecessor):
    """The agent whose place we take, from the moment that it has left all to us.

    Args:
        offer: of it.
        yours: what it said then.
    """

    def __init__(self, offer: Offer, yours: Message, roster: Roster) -> None:
        super().__init__(offer.link, roster, yours)
        self.offer = offer

    async def ready(self, listening: set[int]) -> None:
        """Say that we are the agent now.

        Args:
            listening: the descriptors that we listen by; what was offered and is not among them is closed.
        """
        self.offer.end_alone()
        taken = [one.sock.fileno() in listening for one in self.offer.sockets]
        os.dup2(self.offer.stderr_fd, _STDERR)
        os.close(self.offer.stderr_fd)
        for one, is_taken in zip(self.offer.sockets, taken, strict=True):
            if not is_taken:
                one.sock.close()
        await self.offer.link.send("ready", taken=taken)
