"""Readiness: trio tasks that wait for sockets in one shared epoll instead of in trio's own.

trio's ``wait_readable`` costs an ``epoll_ctl`` or two and a cancel scope each wait.  Here a socket is registered once,
edge-triggered for both directions (epoll(7)); the epoll's own descriptor is what a single trio task awaits, and it
reschedules all tasks whose sockets are ready in one batch.  They stay ordinary trio tasks, with cancellation.

An edge says that something happened since the last look, so whoever reads takes all there is, or remembers that he did
not; ``Wire`` keeps that promise and is the only user of this module.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    import socket

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR  # both directions are shut, or the peer reset the connection
ENDED = select.EPOLLRDHUP | GONE  # the peer sends no more

_EVERYTHING = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class Registered(Protocol):
    """What the hub tells about its socket's events."""

    def on_events(self, events: int) -> None:
        """Something happened: a mask of ``READABLE``, ``WRITABLE`` and ``ENDED``. Must neither raise nor block."""


class Hub:
    """One epoll for all sockets of the proxy; ``run`` is its one task."""

    __slots__ = ("_epoll", "_registered")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._registered: dict[int, Registered] = {}

    def __len__(self) -> int:
        return len(self._registered)

    def register(self, sock: socket.socket, registered: Registered) -> None:
        """Tell ``registered`` of the socket's events from now on."""
        fd = sock.fileno()
        self._epoll.register(fd, _EVERYTHING)
        self._registered[fd] = registered

    def forget(self, sock: socket.socket) -> None:
        """No more events; the caller closes the socket now, which takes it out of the epoll."""
        self._registered.pop(sock.fileno(), None)

    async def run(self) -> None:
        """Pass events on until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, events in self._epoll.poll(0):
                    registered = self._registered.get(fd)
                    if registered is not None:
                        registered.on_events(events)
        finally:
            self._epoll.close()
