"""The socket by which later agents find one that was upgraded, if the agent between them is killed.

It is in the state directory before there is a new agent, and until the old one has finished its requests.
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
from rainbowd.peers import Channel

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
        state_dir: in which it is created.

    Attributes:
        number: higher than that of every agent that was upgraded before.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, state_dir: Path) -> None:
        self.number = 1 + max((number for _, number, _ in _sockets(state_dir)), default=0)
        self._path = state_dir / f"upgraded-{self.number}-{os.getpid()}"
        self._sock = _new_socket()
        try:
            with _short_path(state_dir, self._path.name) as name:
                bind(self._sock, name, mode=_MODE)
            self._sock.listen()
        except OSError:
            self.close()
            raise

    async def accept(self) -> Channel:
        """Return a channel to the next agent that connects."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            with contextlib.suppress(OSError):  # that agent has ended already
                return Channel(self._sock.accept()[0])

    def close(self) -> None:
        """Remove the socket; no further agent can connect."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._sock.close()


def find_upgraded(state_dir: Path, known: Container[int], *, below: float = math.inf) -> dict[int, Channel]:
    """Connect to each agent that was upgraded, and remove the sockets of those that were killed.

    Args:
        state_dir: in which their sockets are.
        known: pids of agents to leave out.
        below: only agents with lower numbers. An agent that was upgraded itself passes its own number, because the
            agents with higher numbers have taken its place, and wait for it to end.

    Returns:
        A channel to each agent, by its pid.
    """
    found = {}
    for path, number, pid in _sockets(state_dir):
        if pid in known or number >= below:
            continue
        sock = _new_socket()
        try:
            with _short_path(state_dir, path.name) as name:
                sock.connect(name)
            found[pid] = Channel(sock)
        except OSError as error:
            sock.close()
            if not isinstance(error, ConnectionRefusedError | FileNotFoundError):
                log.warning("cannot connect to an old agent that finishes requests", pid=pid, error=error.strerror)
                continue
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return found


def _sockets(state_dir: Path) -> list[tuple[Path, int, int]]:
    """Return the path, the number and the pid of each socket."""
    matches = [(path, _NAME.fullmatch(path.name)) for path in state_dir.iterdir()]
    return [(path, int(match[1]), int(match[2])) for path, match in matches if match]


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


@contextlib.contextmanager
def _short_path(directory: Path, name: str) -> Iterator[str]:
    """Return a path to ``name`` that is short enough for unix(7), however long that of ``directory`` is."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)
