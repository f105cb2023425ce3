"""A client's connection: parked without a fiber until a request's head is complete, then served by a fiber."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.http1 import Refusal, find_request_head, parse_request, skip_empty_lines
from rainbowd.log import get_logger
from rainbowd.proxy.access_log import log_exchange, log_refusal
from rainbowd.proxy.client import Client
from rainbowd.proxy.error_response import error_response
from rainbowd.proxy.exchange import Exchange
from rainbowd.proxy.failures import AppBroke, ClientGone, detach
from rainbowd.proxy.fiber import become_task

if TYPE_CHECKING:
    from rainbowd.http1 import RequestHead
    from rainbowd.proxy.context import Context
    from rainbowd.proxy.wire import Wire

LINGER_SECONDS = 2.0
"""How long to keep reading from a client that is still sending, so that a TCP reset does not destroy our response."""
LINGER_BYTES = 64 << 20
"""How much to read from it at most."""

FRESH_GRACE_SECONDS = 1.0
"""At a stop: how long a client that has just connected may take to send its request."""

_RETRY_SECONDS = 0.1

log = get_logger()


class Connection(Client):
    """The connection of one client.

    Between two requests it is parked: it has a socket, a buffer for the next head, and a deadline, but no fiber.  As
    soon as a head is complete, or cannot become a request, a fiber runs ``serve``.  It is a ``Client`` by inheritance,
    because a second object would take memory from thousands of idle connections.

    Args:
        context: what all connections share.
        wire: the client's socket.
        peer: the client's IP address; None on a Unix socket.
        is_trusted: whether the client's forwarded fields are believed.
    """

    __slots__ = ("_context", "_has_begun", "_has_served", "_is_trusted", "_searched_bytes")

    def __init__(self, context: Context, wire: Wire, peer: bytes | None, *, is_trusted: bool) -> None:
        super().__init__(context.deadlines, wire, peer)
        self._context = context
        self._is_trusted = is_trusted
        self._has_begun = False
        self._searched_bytes = 0
        self._has_served = False

    def close(self) -> None:
        """Close the socket, and remove the connection from those that are open."""
        self.remove()
        self.wire.close()
        self._context.clients.discard(self)

    # --- parked ---------------------------------------------------------------------------------------------------

    def park(self) -> None:
        """Wait for a request without a fiber."""
        limits, stopping = self._context.settings.limits, self._context.is_stopping
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
                self.arm(self._context.settings.limits.head_timeout, self._expire_head)

    def _take_head(self) -> bytes | Refusal | None:
        """Remove a head from the buffer and return it; a refusal if it cannot be read; None if it is incomplete."""
        buffer = self.buffer
        try:
            if buffer.startswith(b"\r"):
                buffer = self.buffer = skip_empty_lines(buffer)
            end = find_request_head(buffer, self._searched_bytes, self._context.settings.limits.head_bytes)
        except Refusal as refusal:
            return detach(refusal)
        if end < 0:
            self._searched_bytes = len(buffer)
            return None
        self._searched_bytes = 0
        self.buffer = buffer[end:]
        return buffer[:end]

    def _start_serving(self, head: bytes | Refusal) -> None:
        self.wire.on_readable = None
        self.disarm()
        self._context.fibers.start(self.serve(head))

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
            return await self._refuse_unread(head)
        request = self._parse(head)
        if isinstance(request, Refusal):
            return await self._refuse_unread(request)
        context = self._context
        exchange = Exchange(self, request, context)
        keep_alive, failure = False, None
        try:
            try:
                keep_alive = await exchange.run()
                log_exchange(context, exchange, None)
            except (Refusal, ClientGone, AppBroke) as error:
                failure = detach(error)
            except Exception as bug:
                log.error("bug: a request failed", exc_info=bug)
                failure = Refusal(500, "The proxy failed; its log has the details.")
            if failure is not None:
                keep_alive = await self._fail(exchange, failure)
        finally:
            if exchange.seems_complete:
                self.wire.reset()
        if not keep_alive:
            await self._linger(unread=not exchange.is_request_read)
        return keep_alive

    def _parse(self, head: bytes) -> RequestHead | Refusal:
        """Return the request, or the reason to refuse it."""
        try:
            return parse_request(head, trusted=self._is_trusted, fields_max=self._context.settings.limits.headers)
        except Refusal as refusal:
            return detach(refusal)

    async def _fail(self, exchange: Exchange, failure: Exception) -> bool:
        """Answer a failed exchange if no response has begun, and return whether another request may follow."""
        keep_alive = False
        if isinstance(failure, Refusal) and not exchange.status:
            keep_alive = exchange.can_be_followed and not self._context.closes_after_response
            await self._refuse(failure, exchange.request, keep_alive=keep_alive)
            if keep_alive:
                await trio.lowlevel.checkpoint()  # otherwise a client that keeps sending could run on without a wait
        log_exchange(self._context, exchange, failure)
        return keep_alive

    async def _refuse_unread(self, refusal: Refusal) -> bool:
        """Answer a request that could not be read; no other can follow."""
        await self._refuse(refusal, None, keep_alive=False)
        log_refusal(self._context, self, refusal)
        await self._linger(unread=True)
        return False

    async def _refuse(self, refusal: Refusal, request: RequestHead | None, *, keep_alive: bool) -> None:
        """Answer in place of the app: every response of rainbowd's own is made and sent here."""
        self.wire.clear_interruption()
        await become_task(self._context.reactor)
        with trio.move_on_after(LINGER_SECONDS):
            page = self._context.error_pages.find(refusal, request)
            with_body = request is None or request.method != b"HEAD"
            await self.wire.send(error_response(refusal, keep_alive=keep_alive, with_body=with_body, page=page))

    async def _linger(self, *, unread: bool) -> None:
        """Half-close and keep reading for a while, so that the client receives the response: RFC 9112 section 9.6."""
        if self.wire.is_closed:
            return
        self.wire.clear_interruption()
        await self.wire.drain()
        if unread or self.buffer or self.wire.has_input:
            limit_bytes = self.wire.received_bytes + LINGER_BYTES
            await become_task(self._context.reactor)
            with trio.move_on_after(LINGER_SECONDS):
                await self.wire.shut_down_sending()
                while self.wire.received_bytes < limit_bytes and await self.wire.recv():
                    await trio.lowlevel.checkpoint()
