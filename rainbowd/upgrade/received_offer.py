"""The new agent's side of an upgrade: it receives what the old agent offers, and reports when it is ready."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.errors import UsageError
from rainbowd.listeners import UPGRADE_VARIABLE
from rainbowd.peers import Channel, Follower
from rainbowd.prctl import set_pdeathsig
from rainbowd.upgrade.messages import FORMAT, HandedOver, Offered, Prepared, Ready

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import TypeVar

    from rainbowd.roster import Roster

    T = TypeVar("T")

_STDERR = 2
_GONE = "upgrade: the old agent exited, or gave up the upgrade"


@dataclass(frozen=True)
class OfferedSocket:
    """A listening socket that the old agent hands over.

    Attributes:
        sock: the socket.
        asked: the address in the config for which it was opened; None for a socket of systemd.
        part: of the agent that accepts on it: ``proxy`` or ``api``.
    """

    sock: socket.socket
    asked: str | None
    part: str


@dataclass(frozen=True)
class Offer:
    """What the old agent offers to the new one.

    Attributes:
        channel: to the old agent.
        pid: of the old agent.
        version: of the old agent.
        state_dir: its state directory, which an upgrade cannot change.
        soft_limit: of open files, as it was when the first agent was started.
        config: its config file; None from a version that does not send it.
        directory: in which it was started; relative paths of the command line begin there.
        lock_fd: of the state directory's lock.
        sockets: the listening sockets.
        stderr_fd: its stderr.
    """

    channel: Channel
    pid: int
    version: str
    state_dir: Path
    soft_limit: int
    config: Path | None
    directory: Path
    lock_fd: int
    sockets: list[OfferedSocket]
    stderr_fd: int

    def detach(self) -> None:
        """Outlive the old agent from now on; until now, the kernel would have killed this process with it."""
        set_pdeathsig(None)
        if os.getppid() != self.pid:
            os.kill(os.getpid(), signal.SIGKILL)

    def accept(self) -> HandedOver:
        """Report that this process is prepared, and wait for the handover.

        Returns:
            What the old agent hands over, for ``ReplacedAgent``.

        Raises:
            UsageError: the old agent exited, or gave up the upgrade.
        """

        async def accept() -> HandedOver:
            await self.channel.send(Prepared())
            message, _ = await self.channel.expect(HandedOver)
            return message

        return _run(accept)


def receive_offer(environ: MutableMapping[str, str]) -> Offer | None:
    """Receive the offer of the old agent that started this process.

    Args:
        environ: of this process; the variable of the upgrade is removed.

    Returns:
        The offer; None if no agent started this process.

    Raises:
        UsageError: the offer has another format, or the old agent exited.
    """
    fd = environ.pop(UPGRADE_VARIABLE, "")
    if not fd.isdigit():
        return None
    os.set_inheritable(int(fd), False)
    channel = Channel(socket.socket(fileno=int(fd)))

    async def receive() -> Offer:
        try:
            return await _read_offer(channel)
        except BaseException:
            channel.close()
            raise

    return _run(receive)


async def _read_offer(channel: Channel) -> Offer:
    message, (lock_fd, stderr_fd, *listening) = await channel.expect(Offered)
    if message.format != FORMAT:
        raise UsageError(
            f"upgrade: rainbowd {message.version} hands over in format {message.format}, this version accepts "
            f"{FORMAT}; restart the agent instead"
        )
    sockets = [
        OfferedSocket(socket.socket(fileno=fd), fields["asked"], fields["part"] or "proxy")
        for fd, fields in zip(listening, message.sockets, strict=True)
    ]
    return Offer(
        channel=channel,
        pid=message.pid,
        version=message.version,
        state_dir=Path(message.state_dir),
        soft_limit=message.soft_limit,
        config=Path(message.config) if message.config else None,
        directory=Path(message.directory or "/"),
        lock_fd=lock_fd,
        sockets=sockets,
        stderr_fd=stderr_fd,
    )


def _run(converse: Callable[[], Awaitable[T]]) -> T:
    try:
        return trio.run(converse)
    except EOFError:
        raise UsageError(_GONE) from None


class ReplacedAgent(Follower):
    """The old agent of this upgrade, after it has handed everything over.

    Args:
        offer: its offer.
        handed_over: what ``Offer.accept`` returned.
        roster: of this agent.
    """

    def __init__(self, offer: Offer, handed_over: HandedOver, roster: Roster) -> None:
        super().__init__(offer.channel, roster, handed_over.report)
        self.offer = offer

    async def ready(self, listening: set[int]) -> None:
        """Report to the old agent that this process is the agent now.

        Args:
            listening: descriptors on which this agent listens; offered sockets that are not among them are closed.
        """
        self.offer.detach()
        taken = [offered.sock.fileno() in listening for offered in self.offer.sockets]
        os.dup2(self.offer.stderr_fd, _STDERR)
        os.close(self.offer.stderr_fd)
        for one, is_taken in zip(self.offer.sockets, taken, strict=True):
            if not is_taken:
                one.sock.close()
        await self.offer.channel.send(Ready(taken))
