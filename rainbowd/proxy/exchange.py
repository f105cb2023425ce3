"""One request and its response: lease, connect, send, answer, give back."""

from __future__ import annotations

import contextlib
import errno
import random
import time
from typing import TYPE_CHECKING

import trio

from rainbowd.http1 import (
    BadResponse,
    Body,
    ChunkedBody,
    Refusal,
    RequestHead,
    ResponseHead,
    UntilCloseBody,
    chunk,
    find_response_head,
    last_chunk,
    parse_response,
)
from rainbowd.http1.fields import RULE_BY_NAME
from rainbowd.http1.response import SWITCHING_PROTOCOLS
from rainbowd.proxy.hold import Interruptible, Waiting, nothing_live
from rainbowd.proxy.tunnel import TunnelClosed, tunnel
from rainbowd.proxy.upstream import REFUSED

if TYPE_CHECKING:
    from rainbowd.proxy.connection import Connection
    from rainbowd.proxy.upstream import Upstream
    from rainbowd.roster import Generation

CLIENT_LEFT_SECONDS = 1.0
"""How long an answer may still begin after the client's FIN."""

_QUEUE_FULL_SECONDS = 0.01
_TURN_BYTES = 1 << 20
"""How much a body may move before others get a turn."""

_random = random.SystemRandom()
_ids = random.Random(_random.getrandbits(128))  # noqa: S311 - they tell requests apart and guard nothing


class ClientGone(Exception):  # noqa: N818 - not an error: nobody is left to answer
    """The client went away."""


class AppBroke(Exception):  # noqa: N818 - the app's error
    """The app broke its answer off; the message says how."""


class _Stale(Exception):  # noqa: N818 - expected of idle connections
    """A pooled connection turned out dead before one byte of the response."""


class Exchange:
    """One request and its response.

    Attributes:
        generation: whose lease the connection holds, or held last.
        status: of the final response; 0 before.
        sent_bytes: of the response's body, as the app framed it.
        complete: the response was passed on to its end.
        delimited: the client can tell a response that was cut from a whole one.
    """

    __slots__ = (
        "_body",
        "_client",
        "_connection",
        "_leased",
        "_server",
        "_settings",
        "_upload_bytes",
        "_upstream",
        "_waits_on",
        "complete",
        "delimited",
        "generation",
        "request",
        "sent_bytes",
        "started_at",
        "status",
    )

    def __init__(self, connection: Connection, request: RequestHead) -> None:
        self.request = request
        self.generation: Generation | None = None
        self._leased = False
        self.status = 0
        self.sent_bytes = 0
        self.complete = False
        self.delimited = True
        self.started_at = time.monotonic()
        self._connection = connection
        self._client = connection.wire
        self._server = connection.server
        self._settings = connection.server.settings
        self._body: Body = request.body()
        self._upload_bytes = 0
        self._upstream: Upstream | None = None
        self._waits_on: Interruptible | None = None

    async def run(self) -> bool:
        """The whole life of the request.

        Returns:
            Whether another request may follow on the client's connection.

        Raises:
            Refusal: to be answered by us, if nothing of the response was sent.
            ClientGone, AppBroke: there is nothing more to say to the client.
        """
        self._client.on_ended = self._on_client_ended
        try:
            self._check_length()
            await self._send_request(pooled=self.request.replayable)
            if self._body.done:
                return await self._answer()
            return await self._answer_while_uploading()
        finally:
            self._client.on_ended = None
            self._client.clear_interruption()
            self._connection.disarm()
            self._close_upstream()
            self._end_lease()

    def abandon(self, exception: Exception) -> None:
        """Raise ``exception`` where the exchange waits: for the app, for a generation, or for a slow client."""
        waits_on = self._client if self._client.is_sending else self._waits_on
        if waits_on is None or not waits_on.interrupt(exception):
            self._client.interrupt(exception)  # it was woken just now, and may wait for either next

    def close_tunnel(self) -> None:
        """End the tunnel that this has become, whatever it waits for."""
        self._client.interrupt(TunnelClosed())
        if self._upstream is not None:
            self._upstream.wire.interrupt(TunnelClosed())

    @property
    def request_is_read(self) -> bool:
        """Whether all of the request was taken from the client's connection."""
        return self._body.done

    # --- the way to the app ---------------------------------------------------------------------------------------

    def _check_length(self) -> None:
        limit = self._settings.limits.body_bytes
        if limit is not None and max(self.request.length_bytes or 0, self._upload_bytes) > limit:
            raise Refusal(413, "The body is larger than is allowed here.")

    async def _send_request(self, *, pooled: bool) -> None:
        """Obtain a lease and a connection, and send the head with what is there of the body."""
        request = self.request
        upstream = await self._connect(pooled=pooled)
        self._upstream = upstream
        self._waits_on = upstream.wire
        request.request_id = request.request_id or _request_id()
        request.request_start = request.request_start or b"t=%.3f" % time.time()
        data = request.serialise(peer=self._connection.peer)
        if not self._body.done:
            data += self._take_body(self._connection.take_buffer())
        self._arm_response()
        await self._to_app(data)

    async def _connect(self, *, pooled: bool) -> Upstream:
        """A connection to the live generation, waiting for one to be live where that may come."""
        waiting: Waiting | None = None
        while True:
            generation = await self._lease(waiting)
            upstream = self._server.pool.take(generation) if pooled else None
            if upstream is not None:
                return upstream
            try:
                return await self._open(generation)
            except REFUSED:
                self._close_upstream()
                if not self._settings.managed:
                    raise Refusal(502, "The app refused the connection.") from None
                generation.refused(time.monotonic())
                self._end_lease()
                waiting = waiting or Waiting(self._settings.hold.timeout)
                waiting.refused = True

    async def _lease(self, waiting: Waiting | None) -> Generation:
        """A lease on the live generation; kept if there is one already, as for a second try."""
        if self.generation is not None and self._leased:
            return self.generation
        generation = self._server.roster.lease(self._connection) if waiting is None else None
        if generation is None:
            self._waits_on = waiting = waiting or Waiting(self._settings.hold.timeout)
            self._notice_client_end()
            generation = await self._server.holds.lease(self._connection, waiting, self._settings.hold)
        self.generation, self._leased = generation, True
        return generation

    async def _open(self, generation: Generation) -> Upstream:
        """Connect afresh; every connect that fails before a byte was sent may be tried again.

        Raises:
            ConnectionRefusedError, FileNotFoundError: nothing listens there.
        """
        self._arm_response()
        try:
            while (upstream := self._server.pool.open(generation)) is None:
                await self._wait_for_room()
            self._upstream = upstream  # from here on ``run`` closes it, whatever happens
            self._waits_on = upstream.wire
            await upstream.wire.connected()
        except REFUSED:
            raise
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                raise nothing_live("The server has no descriptors left.") from None
            raise Refusal(502, "The app cannot be reached.") from None
        generation.accepted()
        return upstream

    async def _wait_for_room(self) -> None:
        """The app's queue is full: look again in a moment."""
        self._waits_on = waiting = Waiting()
        self._notice_client_end()
        await waiting.until(trio.Event(), _QUEUE_FULL_SECONDS)

    def _take_body(self, data: bytes) -> bytes:
        """What ``data`` from the client means to the app; what follows the body goes back to the connection."""
        try:
            payload, rest = self._body.feed(data)
        except ValueError as error:
            raise Refusal(400, f"The body cannot be read: {error}.") from None
        self._connection.buffer = rest
        self._upload_bytes += len(payload)
        self._check_length()
        if not self.request.chunked:
            return payload
        out = chunk(payload) if payload else b""
        return out + last_chunk([]) if self._body.done else out

    async def _to_app(self, data: bytes) -> bool:
        """Send; False where the app takes no more, whose answer may be there nevertheless."""
        upstream = self._upstream
        if upstream is None:  # it answered, and has done with the request
            return False
        try:
            await upstream.wire.send(data)
        except OSError:
            return False
        return True

    async def _upload(self) -> None:
        """Pass the rest of the request's body on as it comes, beside the answer."""
        moved_bytes = 0
        try:
            while not self._body.done:
                self._connection.arm(self._settings.limits.body_timeout, self._on_client_silent)
                data = await self._from_client()
                self._arm_response()
                out = self._take_body(data)
                if out and not await self._to_app(out):
                    return
                moved_bytes += len(data)
                if moved_bytes >= _TURN_BYTES:
                    moved_bytes = 0
                    await trio.lowlevel.checkpoint()
            self._notice_client_end()
        except (Refusal, ClientGone, AppBroke) as error:
            self.abandon(error)

    async def _from_client(self) -> bytes:
        try:
            data = await self._client.recv()
        except OSError:
            raise ClientGone from None
        if not data:
            raise ClientGone
        return data

    # --- the way back ---------------------------------------------------------------------------------------------

    async def _answer_while_uploading(self) -> bool:
        """The answer may begin, and end, before the request does."""
        failure: Exception | None = None
        keep_alive = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload)
            try:
                keep_alive = await self._answer()
            except (Refusal, ClientGone, AppBroke) as error:
                failure = error
            if failure is not None or self._upstream is None:
                nursery.cancel_scope.cancel()  # the app has done with the request, or it failed
        if failure is not None:
            raise failure
        return keep_alive and self._body.done

    async def _answer(self) -> bool:
        try:
            response = await self._final_head()
            self._connection.disarm()
            if response.status == SWITCHING_PROTOCOLS:
                return await self._tunnel(response)
            return await self._relay(response)
        except BadResponse as error:
            if self.status:
                raise AppBroke(str(error)) from None
            raise Refusal(502, f"The app's answer cannot be used: {error}.") from None

    async def _final_head(self) -> ResponseHead:
        """The head of the final response; interim ones are passed on at once."""
        while True:
            self._notice_client_end()
            try:
                response = await self._head()
            except _Stale:
                self._close_upstream()
                await self._send_request(pooled=False)
                continue
            if not response.interim:
                return response
            if self._upstream is not None:
                self._upstream.reused = False  # it has shown that it is alive: what breaks now is no stale connection
            if self.request.minor:
                await self._to_client(response.serialise(chunked=False, connection=b""))

    async def _head(self) -> ResponseHead:
        assert self._upstream is not None
        upstream = self._upstream
        buffer, searched = upstream.buffer, 0
        while (end := find_response_head(buffer, searched)) < 0:
            searched = len(buffer)
            try:
                data = await upstream.wire.recv()
            except OSError:
                data = b""
            if not data:
                if not buffer and upstream.reused and self.request.replayable:
                    raise _Stale
                raise BadResponse("it was broken off" if buffer else "the connection was closed instead")
            buffer += data
        upstream.buffer = buffer[end:]
        return parse_response(buffer[:end])

    async def _relay(self, response: ResponseHead) -> bool:
        """Pass a final response on."""
        assert self._upstream is not None
        request, upstream = self.request, self._upstream
        body = response.body(request.method)
        unsized = isinstance(body, ChunkedBody | UntilCloseBody)
        chunked = unsized and request.minor == 1
        self.delimited = chunked or not unsized
        keep_alive = request.keep_alive and self.delimited and self._body.done and not self._server.stopping
        try:
            payload, rest = body.feed(upstream.buffer)
        except ValueError as error:
            raise BadResponse(str(error)) from None
        self.status = response.status
        mirrored = response.chunked and request.method == b"HEAD" and request.minor == 1
        head = response.serialise(
            chunked=chunked or mirrored, connection=_connection_field(request, keep_alive=keep_alive)
        )
        await self._to_client(head + self._framed(payload, body, chunked=chunked))
        moved_bytes = 0
        while not body.done:
            payload, rest = await self._more(body)
            if out := self._framed(payload, body, chunked=chunked):
                await self._to_client(out)
            moved_bytes += len(payload)
            if moved_bytes >= _TURN_BYTES:
                moved_bytes = 0
                await trio.lowlevel.checkpoint()
        self.complete = True
        self._settle_upstream(response, body, rest)
        return keep_alive

    async def _more(self, body: Body) -> tuple[bytes, bytes]:
        """More of the response's body: its payload, and what follows its end."""
        assert self._upstream is not None
        try:
            data = await self._upstream.wire.recv()
            if data:
                return body.feed(data)
            body.feed_eof()
        except OSError:
            raise AppBroke("the connection was reset") from None
        except ValueError as error:
            raise AppBroke(str(error)) from None
        return b"", b""

    def _framed(self, payload: bytes, body: Body, *, chunked: bool) -> bytes:
        """``payload`` as it is sent to the client, with the end of the body where this is it."""
        self.sent_bytes += len(payload)
        if not chunked:
            return payload
        out = chunk(payload) if payload else b""
        if body.done:
            trailers = body.trailers if isinstance(body, ChunkedBody) else []
            out += last_chunk([field for field in trailers if RULE_BY_NAME[field[0]] is None])
        return out

    def _settle_upstream(self, response: ResponseHead, body: Body, rest: bytes) -> None:
        """Keep the app's connection for the next request, if nothing can be left on it."""
        assert self._upstream is not None
        never_comes = self.request.expects_continue and not self._upload_bytes  # the body, behind a final answer
        if not self._body.done and response.keep_alive and not never_comes:
            self._arm_response()
            return  # the app answered early and still reads: it gets the rest
        declared = response.chunked or bool(response.length_bytes)
        bodiless = response.has_no_body(self.request.method) and declared  # some apps send the body all the same
        if (
            self._body.done
            and response.keep_alive
            and not rest
            and not bodiless
            and not isinstance(body, UntilCloseBody)
        ):
            self._upstream.buffer = b""
            self._server.pool.give_back(self._upstream)
        else:
            self._upstream.wire.close()
        self._upstream = None

    async def _tunnel(self, response: ResponseHead) -> bool:
        """Switch protocols, and move bytes from then on."""
        assert self._upstream is not None
        assert self.generation is not None
        if not (self.request.websocket and response.websocket):
            raise BadResponse("it switches protocols, which was not asked for")
        self.status = response.status
        response.fields.append((b"Upgrade", b"websocket"))
        self.generation.become_tunnel(self._connection)
        self._client.on_ended = None
        self._connection.in_tunnel = True
        upstream, early = self._upstream, self._connection.take_buffer()
        for wire in (self._client, upstream.wire):
            wire.clear_interruption()  # it was meant for an exchange
        with contextlib.suppress(TunnelClosed):
            await self._to_client(response.serialise(chunked=False, connection=b"Upgrade") + upstream.buffer)
            if early:
                await self._to_app(early)
            if not self._server.stopping:
                await tunnel(self._client, upstream.wire)
        self.complete = True
        return False

    async def _to_client(self, data: bytes) -> None:
        try:
            await self._client.send(data)
        except OSError:
            raise ClientGone from None

    # --- what may end it ------------------------------------------------------------------------------------------

    def _arm_response(self) -> None:
        """The app's turn: it has to begin its answer in time, and may take any time from then on.

        Behind an answer that came early it has to go on reading the request.
        """
        if self.status and not self.complete:
            self._connection.disarm()
        else:
            self._connection.arm(self._settings.limits.response_timeout, self._on_app_silent)

    def _on_app_silent(self) -> None:
        self.abandon(Refusal(504, "The app did not answer in time."))

    def _on_client_silent(self) -> None:
        if self._client.is_receiving:
            self._client.interrupt(Refusal(408, "The body did not arrive in time."))

    def _on_client_left(self) -> None:
        self.abandon(ClientGone())

    def _notice_client_end(self) -> None:
        if self._client.ended:
            self._on_client_ended()

    def _on_client_ended(self) -> None:
        """A reset ends the exchange at once; behind a FIN an answer may still begin."""
        if self._client.gone:
            self.abandon(ClientGone())
        elif not self.status and self._body.done:
            self._connection.arm_earlier(CLIENT_LEFT_SECONDS, self._on_client_left)

    def _close_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.wire.close()

    def _end_lease(self) -> None:
        if self.generation is not None and self._leased:
            self._leased = False
            self.generation.release_lease(self._connection)


def _connection_field(request: RequestHead, *, keep_alive: bool) -> bytes:
    if request.minor:
        return b"" if keep_alive else b"close"
    return b"keep-alive" if keep_alive else b"close"


def _request_id() -> bytes:
    """A random UUID (version 4): RFC 9562 section 5.4."""
    bits = _ids.getrandbits(122)
    return b"%08x-%04x-4%03x-%04x-%012x" % (
        bits >> 90,
        bits >> 74 & 0xFFFF,
        bits >> 62 & 0xFFF,
        bits >> 48 & 0x3FFF | 0x8000,
        bits & 0xFFFFFFFFFFFF,
    )
