"""A client's connection: parked without a fiber until a request's head is complete, then served by a fiber."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import trio

from rainbowd.http1 import Refusal, find_request_head, parse_request, skip_empty_lines
from rainbowd.log import get_logger
from rainbowd.proxy.error_response import error_response
from rainbowd.proxy.exchange import AppBroke, ClientGone, Exchange
from rainbowd.proxy.fiber import become_task
from rainbowd.proxy.visitor import client_address, visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.proxy.server import Server
    from rainbowd.proxy.tunnel import Tunnel
    from rainbowd.proxy.wire import Wire

LINGER_SECONDS = 2.0
"""How long to keep reading from a client that is still sending, so that a TCP reset does not destroy our response."""
LINGER_BYTES = 64 << 20
"""How much to read from it at most."""

FRESH_GRACE_SECONDS = 1.0
"""At a stop: how long a client that has just connected may take to send its request."""

_RETRY_SECONDS = 0.1

log = get_logger()


class Connection:
    """The connection of one client.

    Between two requests it is parked: it has a socket, a buffer for the next head, and a deadline, but no fiber.  As
    soon as a head is complete, or cannot become a request, a fiber runs ``serve``.

    Args:
        server: the proxy.
        wire: the client's socket.
        peer: the client's IP address; None on a Unix socket.
        trusted: whether the client's forwarded fields are believed.

    Attributes:
        buffer: bytes received and not consumed.
        deadline: on the monotonic clock, in seconds; ``expire`` is called after it.
        watched_until: when ``Deadlines`` checks the deadline next.
        tunnel: relays the bytes of the connection after ``101 Switching Protocols``.
    """

    __slots__ = (
        "_exchange",
        "_has_begun",
        "_has_served",
        "_on_deadline",
        "_searched_bytes",
        "buffer",
        "deadline",
        "peer",
        "server",
        "trusted",
        "tunnel",
        "watched_until",
        "wire",
    )

    def __init__(self, server: Server, wire: Wire, peer: bytes | None, *, trusted: bool) -> None:
        self.server = server
        self.wire = wire
        self.peer = peer
        self.trusted = trusted
        self.buffer = b""
        self.deadline = self.watched_until = math.inf
        self.tunnel: Tunnel | None = None
        self._on_deadline: Callable[[], None] | None = None
        self._exchange: Exchange | None = None
        self._has_begun = False
        self._searched_bytes = 0
        self._has_served = False

    def close(self) -> None:
        """Close the socket, and remove the connection from the server."""
        self.disarm()
        self.wire.close()
        self.server.remove(self)

    # --- parked ---------------------------------------------------------------------------------------------------

    def park(self) -> None:
        """Wait for a request without a fiber."""
        limits, stopping = self.server.settings.limits, self.server.is_stopping
        self._has_begun = bool(self.buffer)
        if self._has_begun:
            self.arm(limits.head_timeout, self._expire_head)
        elif stopping:
            self.arm(0.0 if self._is_idle else FRESH_GRACE_SECONDS, self._close_idle)
        else:
            self.arm(limits.idle_timeout if self._has_served else limits.head_timeout, self.close)
        self.wire.on_readable = self._on_readable
        self._on_readable()

    def _on_readable(self) -> None:
        """Read the bytes that have arrived; start a fiber once a head is complete or must be refused."""
        while self.is_parked:
            try:
                data = self.wire.recv_nowait()
            except OSError:
                data = b""
            if data is None:
                return
            if not data:
                self.close()  # the client left between two requests, or never sent one
                return
            self.buffer += data
            head = self._take_head()
            if head is not None:
                self._start_serving(head)
            elif not self._has_begun:
                self._has_begun = True
                self.arm(self.server.settings.limits.head_timeout, self._expire_head)

    def _take_head(self) -> bytes | Refusal | None:
        """Remove a head from the buffer and return it; a refusal if it cannot be read; None if it is incomplete."""
        buffer = self.buffer
        try:
            if buffer.startswith(b"\r"):
                buffer = self.buffer = skip_empty_lines(buffer)
            end = find_request_head(buffer, self._searched_bytes, self.server.settings.limits.head_bytes)
        except Refusal as refusal:
            return refusal.with_traceback(None)  # whose frame would refer to the refusal: a cycle
        if end < 0:
            self._searched_bytes = len(buffer)
            return None
        self._searched_bytes = 0
        self.buffer = buffer[end:]
        return buffer[:end]

    def _start_serving(self, head: bytes | Refusal) -> None:
        self.wire.on_readable = None
        self.deadline = math.inf
        self.server.fibers.start(self.serve(head))

    @property
    def is_parked(self) -> bool:
        """Whether no fiber serves the connection."""
        return self.wire.on_readable is not None

    @property
    def _is_idle(self) -> bool:
        """Whether the connection is between two requests, as far as can be seen."""
        return self._has_served and not self.wire.has_input

    def _close_idle(self) -> None:
        """Close without a response, as soon as the kernel has accepted the previous one."""
        self.wire.flush()
        if self.wire.is_flushed:
            self.close()
        else:
            self.arm(_RETRY_SECONDS, self._close_idle)

    def _expire_head(self) -> None:
        self._start_serving(Refusal(408, "The header did not arrive in time."))

    # --- time limits, and the end ---------------------------------------------------------------------------------

    def arm(self, limit_seconds: float | None, on_deadline: Callable[[], None]) -> None:
        """Start a time limit, which replaces the current one.

        Args:
            limit_seconds: None for no limit.
            on_deadline: called when the limit has passed.
        """
        self._on_deadline = on_deadline
        if limit_seconds is None:
            self.deadline = math.inf
        else:
            self.deadline = time.monotonic() + limit_seconds
            if self.deadline < self.watched_until:
                self.server.deadlines.watch(self)

    def arm_earlier(self, limit_seconds: float, on_deadline: Callable[[], None]) -> None:
        """Start a time limit, unless the current one ends sooner. The arguments are those of ``arm``."""
        if time.monotonic() + limit_seconds < self.deadline:
            self.arm(limit_seconds, on_deadline)

    def disarm(self) -> None:
        """Clear the time limit, if there is one."""
        self.deadline = math.inf
        self._on_deadline = None

    def expire(self) -> None:
        """Call the function given to ``arm``, because the limit has passed."""
        on_deadline = self._on_deadline
        self.disarm()
        if on_deadline is not None:
            on_deadline()

    def cut(self) -> None:
        """End the exchange or tunnel, so that the client can tell it from a complete response."""
        if self.tunnel is not None:
            self.tunnel.close()
        elif self._exchange is not None:
            begun = self._exchange.status != 0
            late = Refusal(504, "The app was stopped before it answered.")
            self._exchange.interrupt(AppBroke("the drain timeout was reached") if begun else late)

    def visitor(self, by: str) -> bytes:
        """Return what identifies the client of the present request.

        Args:
            by: ``client``, ``cookie:NAME`` or ``header:NAME``.
        """
        assert self._exchange is not None  # which has the lease, or waits for it
        request = self._exchange.request
        return visitor(request, client_address(request, self.peer, self.server.settings.trust), by)

    def close_if_idle(self) -> None:
        """Close the connection if it is between two requests, because the agent stops.

        A new connection first gets ``FRESH_GRACE_SECONDS`` to send its request.
        """
        if self.is_parked and not self.buffer:
            if self._is_idle:
                self._close_idle()
            else:  # its request may be on the way
                self.arm_earlier(FRESH_GRACE_SECONDS, self._close_idle)

    # --- served ---------------------------------------------------------------------------------------------------

    def take_buffer(self) -> bytes:
        """Return the bytes received and not consumed, and clear the buffer."""
        buffer, self.buffer = self.buffer, b""
        return buffer

    async def serve(self, head: bytes | Refusal | None) -> None:
        """Answer a request and those that follow it in the buffer; then park, or close.

        Args:
            head: a request's head, or the reason to refuse it.
        """
        keep_alive = False
        try:
            while head is not None:
                if not await self._serve_request(head):
                    return
                head = self._take_head() if self.buffer else None
            keep_alive = True
        except OSError:
            return  # the client left
        finally:
            if not keep_alive:
                self.close()
        self.park()

    async def _serve_request(self, head: bytes | Refusal) -> bool:
        """Answer one request, and return whether another may follow."""
        self._has_served = True
        if isinstance(head, Refusal):
            await self._refuse(head, None)
            return False
        try:
            request = parse_request(head, trusted=self.trusted, fields_max=self.server.settings.limits.headers)
        except Refusal as refusal:
            await self._refuse(refusal, None)
            return False
        exchange = self._exchange = Exchange(self, request)
        try:
            keep_alive = await exchange.run()
            self.server.on_exchange(self, exchange, None)
        except (Refusal, ClientGone, AppBroke) as error:
            keep_alive = await self._fail(exchange, error)
        except Exception as bug:
            log.error("bug: a request failed", exc_info=bug)
            keep_alive = await self._fail(exchange, Refusal(500, "The proxy failed; its log has the details."))
        finally:
            self._exchange = None
            if exchange.status and not exchange.is_complete and not exchange.is_delimited:
                self.wire.reset()
        if not keep_alive:
            await self._linger(unread=not exchange.is_request_read)
        return keep_alive

    async def _fail(self, exchange: Exchange, error: Exception) -> bool:
        """Answer a failed exchange if possible, and return whether another request may follow."""
        self._exchange = None
        keep_alive = False
        if isinstance(error, Refusal) and not exchange.status:
            exchange.status = error.status
            exchange.is_complete = True
            keep_alive = await self._refuse(error, exchange)
        self.server.on_exchange(self, exchange, error)
        return keep_alive

    async def _refuse(self, refusal: Refusal, exchange: Exchange | None) -> bool:
        """Answer in place of the app, and return whether another request may follow."""
        self.wire.clear_interruption()
        request = exchange.request if exchange is not None else None
        keep_alive = (
            exchange is not None
            and exchange.is_request_read
            and exchange.request.keep_alive
            and not exchange.request.has_body
            and not self.server.closes_after_response
        )
        with_body = request is None or request.method != b"HEAD"
        await become_task(self.server.hub)
        with trio.move_on_after(LINGER_SECONDS):
            page = self.server.error_pages.find(refusal, request)
            await self.wire.send(error_response(refusal, keep_alive=keep_alive, with_body=with_body, page=page))
        if exchange is None:
            self.server.on_refusal(self, refusal)
            await self._linger(unread=True)
        elif keep_alive:
            await trio.lowlevel.checkpoint()  # otherwise a client that keeps sending could run on without a wait
        return keep_alive

    async def _linger(self, *, unread: bool) -> None:
        """Half-close and keep reading for a while, so that the client receives the response: RFC 9112 section 9.6."""
        if self.wire.is_closed:
            return
        self.wire.clear_interruption()
        await self.wire.drain()
        if unread or self.buffer or self.wire.has_input:
            limit_bytes = self.wire.received_bytes + LINGER_BYTES
            await become_task(self.server.hub)
            with trio.move_on_after(LINGER_SECONDS):
                await self.wire.shut_down_sending()
                while self.wire.received_bytes < limit_bytes and await self.wire.recv():
                    await trio.lowlevel.checkpoint()
