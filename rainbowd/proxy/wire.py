"""A connected socket at the reactor: receive, send, interrupt, close."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from rainbowd.proxy.fiber import wake
from rainbowd.proxy.reactor import BROKEN, ENDED, GONE, READABLE, WRITABLE
from rainbowd.proxy.reset import reset_on_close, unread_bytes
from rainbowd.proxy.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.proxy.reactor import Reactor

RECV_BYTES = 65536

KEPT_BACK_BYTES = 16384
"""How much is kept back until the reactor flushes; larger data is sent at once."""

_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Wire(Waits):
    """One connected, non-blocking socket.

    There are three ways to send. They differ in what happens to data that cannot be sent at once:

    =================  =============================================  ===================  ==========================
    method             small data (up to KEPT_BACK_BYTES in all)      larger data          returns
    =================  =============================================  ===================  ==========================
    ``send_soon``      is kept back until the reactor flushes             is refused           whether it was accepted
    ``send_or_keep``   the same                                       is sent or kept      whether there is more room
    ``send`` (async)   the same                                       waits for room       when all is accepted
    =================  =============================================  ===================  ==========================

    and three ways to move data that was kept back to the kernel:

    =================  ==============================================================================================
    ``flush_soon``     of the reactor: calls ``flush`` once all ready fibers have run; ``send_soon`` calls it
    ``flush``          sends now as much as the kernel accepts; a later writable event flushes the rest
    ``drain`` (async)  waits until the kernel has accepted everything
    =================  ==============================================================================================

    Attributes:
        has_ended: whether the peer sends no more; there may be bytes left to read.
        is_gone: whether the connection is reset, or shut down in both directions.
        is_broken: whether the connection is reset.
        is_closed: whether ``close`` was called.
        on_readable: called when there may be something to receive, or the end, and no reader waits.
        on_writable: called when there may be room to send, and no writer waits.
        on_ended: called when the peer ends or resets the connection, whether or not anybody waits.
        received_bytes: since the connection was opened.
    """

    __slots__ = (
        "_failure",
        "_kept_back",
        "_maybe_readable",
        "has_ended",
        "is_broken",
        "is_closed",
        "is_gone",
        "on_ended",
        "on_readable",
        "on_writable",
        "received_bytes",
        "sock",
    )

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        super().__init__(reactor)
        self.sock = sock
        self.is_closed = False
        self.has_ended = False
        self.is_gone = self.is_broken = False
        self.on_readable: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.on_ended: Callable[[], None] | None = None
        self.received_bytes = 0
        self._kept_back = b""
        self._failure: OSError | None = None
        self._maybe_readable = True
        reactor.register(sock, self)

    def on_events(self, events: int) -> None:
        """Wake the reader and the writer that wait for these events. The reactor calls this."""
        if events & ENDED:
            self.has_ended = True
            self.is_gone |= bool(events & GONE)
            self.is_broken |= bool(events & BROKEN)
        if events & (READABLE | ENDED):
            self._maybe_readable = True
            if self._reader is not None:
                wake(self._reactor, self._reader)
                self._reader = None
            elif self.on_readable is not None:
                self.on_readable()
        if events & (WRITABLE | GONE):
            if self._kept_back:
                self.flush()
            if self._writer is not None:
                wake(self._reactor, self._writer)
                self._writer = None
            elif self.on_writable is not None:
                self.on_writable()
        if events & ENDED and self.on_ended is not None:
            self.on_ended()

    def recv_nowait(self, max_bytes: int = RECV_BYTES) -> bytes | None:
        """Return up to ``max_bytes`` that have arrived; None if there are none yet, empty at the end.

        Raises:
            OSError: the connection broke.
        """
        if not self._maybe_readable:
            return None
        try:
            data = self.sock.recv(max_bytes)
        except BlockingIOError:
            self._maybe_readable = False
            return None
        # A short read has read everything, so the next edge will report more: epoll(7), "Questions and answers".
        # After a FIN this does not hold, because its edge may be the current one.
        self._maybe_readable = len(data) == max_bytes or self.has_ended
        self.received_bytes += len(data)
        return data

    async def recv(self, max_bytes: int = RECV_BYTES) -> bytes:
        """Wait for the first byte, and return up to ``max_bytes`` that have arrived; empty at the end.

        Raises:
            OSError: the connection broke.
        """
        while True:
            if not self._maybe_readable:
                await self.wait_readable()
            data = self.recv_nowait(max_bytes)
            if data is not None:
                return data

    def rearm(self) -> None:
        """Call ``on_readable`` again for the bytes left unread, once all other sockets have been handled."""
        self._reactor.rearm(self.sock)

    def send_soon(self, data: bytes) -> bool:
        """Accept small ``data`` for the reactor's next flush; return whether it was accepted."""
        if self._failure is not None or len(self._kept_back) + len(data) > KEPT_BACK_BYTES:
            return False
        first, self._kept_back = not self._kept_back, self._kept_back + data
        if first:
            self._reactor.flush_soon(self)
        return True

    def send_or_keep(self, data: bytes) -> bool:
        """Accept ``data``, keep what cannot be sent yet, and return whether there is room for more.

        Raises:
            OSError: the connection broke, perhaps at an earlier send.
        """
        if self.send_soon(data):
            return True
        self._kept_back += data
        self.flush()
        if self._failure is not None:
            raise self._failure
        return not self._kept_back

    async def send(self, data: bytes) -> None:
        """Accept small ``data`` for the next flush; hand larger data to the kernel, waiting for room.

        Raises:
            OSError: the connection broke, perhaps at an earlier send.
        """
        if self.send_soon(data):
            return
        await self.drain()
        rest = memoryview(data)
        while rest:
            try:
                sent = self.sock.send(rest)
            except BlockingIOError:
                sent = 0
            rest = rest[sent:]
            if not sent:
                await self.wait_writable()

    async def drain(self) -> None:
        """Wait until the kernel has accepted all data that was kept back.

        Raises:
            OSError: the connection broke.
        """
        while self._kept_back:
            self.flush()
            if self._kept_back:
                await self.wait_writable()
        if self._failure is not None:
            raise self._failure

    def flush(self) -> None:
        """Send the data that was kept back, as far as the kernel accepts it; the rest follows when there is room."""
        if self._kept_back:
            try:
                self._kept_back = self._kept_back[self.sock.send(self._kept_back) :]
            except BlockingIOError:
                pass
            except OSError as error:  # the next send raises it; the reactor reports the end as an event
                self._kept_back, self._failure = b"", error

    async def splice_to(self, pipe: int, max_bytes: int) -> int:
        """Wait for the first byte, and move up to ``max_bytes`` that have arrived into an empty pipe: splice(2).

        Returns:
            The number of bytes; 0 at the end.

        Raises:
            OSError: the connection broke.
        """
        while True:
            if not self._maybe_readable:
                await self.wait_readable()
            try:
                moved = os.splice(self.sock.fileno(), pipe, max_bytes, flags=_SPLICE)
            except BlockingIOError:
                self._maybe_readable = False
            else:
                self.received_bytes += moved
                return moved

    async def splice_from(self, pipe: int, count: int) -> None:
        """Send ``count`` bytes from a pipe that holds them, after everything that was sent before.

        Raises:
            OSError: the connection broke.
        """
        await self.drain()
        while count:
            try:
                moved = os.splice(pipe, self.sock.fileno(), count, flags=_SPLICE)
            except BlockingIOError:
                moved = 0
            count -= moved
            if not moved:
                await self.wait_writable()

    @property
    def has_input(self) -> bool:
        """Whether bytes, the end or an error can be received now."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    @property
    def is_quiet(self) -> bool:
        """Whether the peer has sent nothing since the last read, and has not ended, as far as events show."""
        return not self.has_ended and not (self._maybe_readable and self.has_input)

    @property
    def is_flushed(self) -> bool:
        """Whether no data is kept back, because the kernel has accepted everything."""
        return not self._kept_back

    async def shut_down_sending(self) -> None:
        """Send everything that was kept back, and then a FIN."""
        with contextlib.suppress(OSError):  # the peer may have reset the connection
            await self.drain()
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Flush and close. Idempotent. Data that the kernel does not accept is lost; ``drain`` first to avoid that."""
        if not self.is_closed:
            self.flush()
            self.is_closed = True
            self._kept_back = b""
            self.on_readable = self.on_writable = self.on_ended = None
            self._reactor.unregister(self.sock)
            self.sock.close()

    def abort(self) -> None:
        """Close so that the peer notices at once; a FIN would wait behind data that the peer does not read."""
        if not self.is_closed and unread_bytes(self.sock):
            self.reset()
        self.close()

    def reset(self) -> None:
        """Close with a reset (RST), so that the peer sees an error instead of an end."""
        if not self.is_closed:
            self._kept_back = b""
            reset_on_close(self.sock)
            self.close()
