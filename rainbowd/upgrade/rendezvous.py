"""Where a later agent finds one that was upgraded, should the agent between them be killed: a socket on disk.

It is in the state directory before there is a new agent, and until the old one has nothing more to finish.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
from typing import TYPE_CHECKING

import trio

from rainbowd.listeners import bind
from rainbowd.log import get_logger
from rainbowd.upgrade.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

_NAME = re.compile(r"upgraded-([0-9]+)-([0-9]+)")
"""A number that grows with each upgrade, and the pid."""

_MODE = 0o600

log = get_logger()


class Rendezvous:
    """The socket of this agent.

    Args:
        state_dir: where it is to be.

    Attributes:
        number: above that of every agent that was upgraded before.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, state_dir: Path) -> None:
        self.number = 1 + max((number for _, number, _ in _there(state_dir)), default=0)
        self._path = state_dir / f"upgraded-{self.number}-{os.getpid()}"
        self._sock = _new_socket()
        try:
            with _within(state_dir, self._path.name) as name:
                bind(self._sock, name, mode=_MODE)
            self._sock.listen()
        except OSError:
            self.close()
            raise

    async def next(self) -> Channel:
        """The line to the next agent that comes."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            with contextlib.suppress(OSError):  # it has gone again
                return Channel(self._sock.accept()[0])

    def close(self) -> None:
        """Nobody can come any more."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._sock.close()


def find_upgraded(state_dir: Path, known: Container[int], *, below: float = math.inf) -> dict[int, Channel]:
    """A line to each agent that is there and not known, by its pid; what one left that was killed is removed.

    Args:
        state_dir: where they are.
        known: pids of those that are not meant.
        below: which number those have that are meant. Of an agent that was upgraded its own: behind it come those that
            have taken its place, and wait for its end.
    """
    found = {}
    for path, number, pid in _there(state_dir):
        if pid in known or number >= below:
            continue
        sock = _new_socket()
        try:
            with _within(state_dir, path.name) as name:
                sock.connect(name)
            found[pid] = Channel(sock)
        except OSError as error:
            sock.close()
            if not isinstance(error, ConnectionRefusedError | FileNotFoundError):
                log.warning("cannot be asked for the requests that it has", pid=pid, why=error.strerror)
                continue
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return found


def _there(state_dir: Path) -> list[tuple[Path, int, int]]:
    """The path, the number and the pid of each."""
    matches = [(path, _NAME.fullmatch(path.name)) for path in state_dir.iterdir()]
    return [(path, int(match[1]), int(match[2])) for path, match in matches if match]


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


@contextlib.contextmanager
def _within(directory: Path, name: str) -> Iterator[str]:
    """A path to ``name`` that is short enough for unix(7), however long that of ``directory`` is."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)
