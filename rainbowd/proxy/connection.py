"""A client connection's life: read a head, exchange, again."""

from __future__ import annotations

import math
import socket
import time
from typing import TYPE_CHECKING

import trio

from rainbowd.http1 import BadResponse, Refusal, RequestHead, find_request_head, parse_request
from rainbowd.log import get_logger
from rainbowd.proxy.exchange import AppBroke, ClientGone, Exchange
from rainbowd.proxy.reply import reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.proxy.server import Server
    from rainbowd.proxy.wire import Wire

LINGER_SECONDS = 2.0
"""How long a client that still sends is listened to, so that our last words are not lost to a reset."""
LINGER_BYTES = 64 << 20

FRESH_GRACE_SECONDS = 1.0
"""At a stop: how long a connection that was just accepted may take to send its request."""

log = get_logger()


class Expired(Exception):  # noqa: N818 - the usual end of an idle connection
    """Nothing came in time, or nothing more is wanted: close without an answer."""


class Connection:
    """One client.

    Attributes:
        peer: its IP address; None on a Unix socket.
        trusted: its forwarded fields are believed.
        buffer: received and not consumed.
        deadline: on the monotonic clock; the sweeper calls ``on_deadline`` behind it.
        in_tunnel: it carries no HTTP any more.
    """

    __slots__ = (
        "_exchange",
        "_on_deadline",
        "_reading",
        "_served",
        "buffer",
        "deadline",
        "in_tunnel",
        "peer",
        "server",
        "trusted",
        "wire",
    )

    def __init__(self, server: Server, wire: Wire, peer: bytes | None, *, trusted: bool) -> None:
        self.server = server
        self.wire = wire
        self.peer = peer
        self.trusted = trusted
        self.buffer = b""
        self.deadline = math.inf
        self.in_tunnel = False
        self._on_deadline: Callable[[], None] | None = None
        self._exchange: Exchange | None = None
        self._reading = False
        self._served = 0

    async def run(self) -> None:
        """Serve the client until either side has enough."""
        try:
            while (request := await self._next_request()) is not None:
                if not await self._serve(request):
                    break
        except (Expired, OSError):
            pass  # the client left between two requests, or came for none
        finally:
            self.wire.close()

    def cut(self) -> None:
        """End what is under way, so that the client can tell it from a complete answer."""
        if self._exchange is None:
            return
        if self.in_tunnel:
            self._exchange.close_tunnel()
        else:
            begun = self._exchange.status != 0
            late = Refusal(504, "The app was stopped before it answered.")
            self._exchange.abandon(AppBroke("the time to drain was over") if begun else late)

    async def turn_away(self, refusal: Refusal) -> None:
        """Answer without having read a request, and close."""
        try:
            await self._refuse(refusal, None)
        except OSError:
            pass  # nobody waits for the answer
        finally:
            self.wire.close()

    def wind_down(self) -> None:
        """The agent stops: an idle connection is closed, any other after its request; a tunnel at once."""
        if self.in_tunnel:
            self.cut()
        elif self._reading and not self.buffer:
            if self._is_idle:
                self.wire.interrupt(Expired())
            else:  # its request may be on the way
                self.arm_earlier(FRESH_GRACE_SECONDS, self._expire)

    @property
    def _is_idle(self) -> bool:
        """Between two requests, as far as can be told."""
        return self._served > 0 and not self.wire.has_input

    # --- time limits ----------------------------------------------------------------------------------------------

    def arm(self, limit_seconds: float | None, on_deadline: Callable[[], None]) -> None:
        """Have ``on_deadline`` called when the limit is over; this replaces the limit before."""
        self.deadline = math.inf if limit_seconds is None else time.monotonic() + limit_seconds
        self._on_deadline = on_deadline

    def arm_earlier(self, limit_seconds: float, on_deadline: Callable[[], None]) -> None:
        """The same, unless what is armed comes sooner."""
        if time.monotonic() + limit_seconds < self.deadline:
            self.arm(limit_seconds, on_deadline)

    def disarm(self) -> None:
        """No limit."""
        self.deadline = math.inf

    def expire(self) -> None:
        """The limit is over; the sweeper calls this."""
        self.disarm()
        if self._on_deadline is not None:
            self._on_deadline()

    def _expire(self) -> None:
        self.wire.interrupt(Expired())

    def _expire_head(self) -> None:
        self.wire.interrupt(Refusal(408, "The header did not arrive in time."))

    # --- requests -------------------------------------------------------------------------------------------------

    def take_buffer(self) -> bytes:
        """What was received and not consumed; the caller consumes it."""
        buffer, self.buffer = self.buffer, b""
        return buffer

    async def _next_request(self) -> RequestHead | None:
        """Read the next head; None where the connection ends here."""
        try:
            head = await self._read_head()
            if head is None:
                return None
            limits = self.server.settings.limits
            return parse_request(head, trusted=self.trusted, fields_max=limits.headers)
        except Refusal as refusal:
            await self._refuse(refusal, None)
            return None

    async def _read_head(self) -> bytes | None:
        limits = self.server.settings.limits
        buffer, searched = self.take_buffer().lstrip(b"\r\n"), 0
        begun = bool(buffer)
        if begun:
            self.arm(limits.head_timeout, self._expire_head)
        else:
            self.arm(limits.idle_timeout if self._served else limits.head_timeout, self._expire)
            if self.server.stopping:
                if self._is_idle:
                    return None
                self.arm_earlier(FRESH_GRACE_SECONDS, self._expire)
        self._reading = True
        try:
            while (end := find_request_head(buffer, searched, limits.head_bytes)) < 0:
                searched = len(buffer)
                self.buffer = buffer
                data = await self.wire.recv()
                if not data:
                    return None
                if not begun:
                    begun = True
                    self.arm(limits.head_timeout, self._expire_head)
                buffer = buffer + data if buffer else data.lstrip(b"\r\n")  # RFC 9112 section 2.2
        finally:
            self._reading = False
        self.disarm()
        self.wire.clear_interruption()  # the limit was over in this very moment: it came in time
        self.buffer = buffer[end:]
        return buffer[:end]

    async def _serve(self, request: RequestHead) -> bool:
        """Answer one request; whether another may follow."""
        self._served += 1
        exchange = self._exchange = Exchange(self, request)
        keep_alive = False
        error: Exception | None = None
        try:
            keep_alive = await exchange.run()
        except Refusal as refusal:
            error = refusal
            if not exchange.status:
                exchange.status = refusal.status
                keep_alive = await self._refuse(refusal, exchange)
        except (ClientGone, AppBroke, BadResponse) as broken:
            error = broken
        except Exception as bug:
            error = bug
            log.error("bug: a request failed", exc_info=bug)
        finally:
            self._exchange = None
            if exchange.status and not exchange.complete and not exchange.delimited:
                self.wire.reset()
        self.server.on_exchange(self, exchange, error)
        if not keep_alive:
            await self._close(unread=not exchange.request_is_read)
        return keep_alive

    async def _refuse(self, refusal: Refusal, exchange: Exchange | None) -> bool:
        """Answer in the app's place; whether another request may follow."""
        self.wire.clear_interruption()
        request = exchange.request if exchange is not None else None
        keep_alive = (
            exchange is not None
            and exchange.request_is_read
            and exchange.request.keep_alive
            and not exchange.request.has_body
            and not self.server.stopping
        )
        with_body = request is None or request.method != b"HEAD"
        with trio.move_on_after(LINGER_SECONDS):
            await self.wire.send(reply(refusal, keep_alive=keep_alive, with_body=with_body))
        if exchange is None:
            self.server.on_refusal(self, refusal)
            await self._close(unread=True)
        elif keep_alive:
            await trio.lowlevel.checkpoint()  # a client that asks on and on waits for nothing else here
        return keep_alive

    async def _close(self, *, unread: bool) -> None:
        """Close so that the client reads all we sent: half-close, read a little, close: RFC 9112 section 9.6."""
        if self.wire.closed:
            return
        if unread or self.buffer or self.wire.has_input:
            self.wire.clear_interruption()
            self.wire.shut_down_sending()
            limit_bytes = self.wire.received_bytes + LINGER_BYTES
            with trio.move_on_after(LINGER_SECONDS):
                while self.wire.received_bytes < limit_bytes and await self.wire.recv():
                    await trio.lowlevel.checkpoint()
        self.wire.close()


def prepare(sock: socket.socket) -> None:
    """Set what a client's socket needs: no delay for small writes, and to notice a peer that vanished."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
