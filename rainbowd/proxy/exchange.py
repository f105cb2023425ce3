"""One request and its response: take a lease and a connection, send the request, relay the response."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import trio

from rainbowd.http1 import ENDED_EARLY, NO_RESPONSE, BadResponse, Refusal, read_response
from rainbowd.http1.response import SWITCHING_PROTOCOLS
from rainbowd.proxy.claim import Claim
from rainbowd.proxy.download import Download, check_switch
from rainbowd.proxy.fiber import become_task, checkpoint
from rainbowd.proxy.request_id import add_date, add_request_id
from rainbowd.proxy.tunnel import Tunnel
from rainbowd.proxy.upload import NO_UPLOAD, Upload

if TYPE_CHECKING:
    from rainbowd.http1 import RequestHead, ResponseHead
    from rainbowd.proxy.connection import Connection
    from rainbowd.proxy.pipes import Pipe
    from rainbowd.proxy.upstream import Upstream
    from rainbowd.roster import Generation

CLIENT_LEFT_SECONDS = 1.0
"""How long the app may be silent after the client's FIN, which both a closed tab and a half-closed client send."""

BAD_RESPONSE = "The app's answer was incomplete or not valid."
"""The text that the client receives; the log has the reason."""

_TURN_BYTES = 1 << 20
"""How many bytes of a body move before other fibers run."""


class ClientGone(Exception):
    """The client closed its connection."""


class AppBroke(Exception):
    """The app broke its response off; the message says how."""


class _AppStoppedReading(Exception):
    """The app stopped reading the request."""


class Exchange:
    """One request and its response.

    Args:
        connection: the client's connection.
        request: the head that the client sent.

    Attributes:
        status: of the final response; 0 before.
        is_complete: whether the complete response was relayed.
        is_delimited: whether the client can tell a cut response from a complete one.
        started_at: on the monotonic clock, in seconds.
    """

    __slots__ = (
        "_claim",
        "_client",
        "_connection",
        "_download",
        "_limits",
        "_upload",
        "is_complete",
        "is_delimited",
        "request",
        "started_at",
        "status",
    )

    def __init__(self, connection: Connection, request: RequestHead) -> None:
        settings = connection.server.settings
        self.request = request
        self.status = 0
        self.is_complete = False
        self.is_delimited = True
        self.started_at = time.monotonic()
        self._connection = connection
        self._client = connection.wire
        self._limits = settings.limits
        self._claim = Claim(connection, settings, self)
        self._upload = (
            Upload(request.body(), settings.limits.body_bytes, chunked=request.chunked)
            if request.has_body
            else NO_UPLOAD
        )
        self._download: Download | None = None

    async def run(self) -> bool:
        """Relay the request and its response, from the lease to its end.

        Returns:
            Whether another request may follow on the client's connection.

        Raises:
            Refusal: must be sent to the client, if no part of a response was sent.
            ClientGone, AppBroke: nothing more can be sent to the client.
        """
        self._client.on_ended = self._on_client_ended
        try:
            self._upload.check_length(self.request.length_bytes or 0)
            await self._send_request(pooled=self.request.is_replayable)
            if self._upload.is_done:
                return await self._respond()
            return await self._respond_while_uploading()
        finally:
            self._client.on_ended = None
            self._client.clear_interruption()
            self._connection.disarm()
            self._claim.release(aborted=not self._upload.is_done)

    @property
    def generation(self) -> Generation | None:
        """The generation that the request has leased, or had leased last."""
        return self._claim.generation

    @property
    def sent_bytes(self) -> int:
        """The bytes of the response's body sent so far, without the framing."""
        return self._download.sent_bytes if self._download is not None else 0

    @property
    def is_request_read(self) -> bool:
        """Whether the complete request was read from the client's connection."""
        return self._upload.is_done

    # --- the request ----------------------------------------------------------------------------------------------

    async def _send_request(self, *, pooled: bool) -> None:
        """Send the head, with the part of the body that has arrived."""
        upstream = self._claim.take_pooled() if pooled else None
        if upstream is None:
            upstream = await self._claim.connect(pooled=pooled)
        add_request_id(self.request)
        data = self.request.serialise(peer=self._connection.peer)
        if not self._upload.is_done:
            data += self._take_body(self._connection.take_buffer())
        self.start_response_timeout()
        if not upstream.wire.send_soon(data):
            with contextlib.suppress(OSError):  # the app reads no more, but may have answered
                await upstream.wire.send(data)
        self._upload.mark_sent()

    def _take_body(self, data: bytes) -> bytes:
        """Return the bytes to send to the app, and put the rest of ``data`` back into the buffer."""
        out, self._connection.buffer = self._upload.feed(data)
        return out

    async def _send_body(self) -> None:
        """Relay the rest of the body as it arrives, in parallel with the response."""
        try:
            with self._connection.server.pipes.borrow(self._upload.plain_bytes) as pipe:
                moved_bytes = 0
                while not self._upload.is_done:
                    moved_bytes += await self._send_more(pipe)
                    if moved_bytes >= _TURN_BYTES or self._connection.buffer:
                        moved_bytes = 0
                        await self._yield_turn()
            if self.is_complete:  # the app answered early: nothing else waits until the rest is sent
                with _Raising(_AppStoppedReading):
                    await self._open_upstream.wire.drain()
            self.check_client_end()
        except _AppStoppedReading:
            pass
        except (Refusal, ClientGone, AppBroke) as error:
            self.interrupt(error)

    async def _send_more(self, pipe: Pipe | None) -> int:
        """Relay the next bytes of the body, and return their number.

        Raises:
            _AppStoppedReading: the app reads no more.
            ClientGone: the client closed its connection.
            Refusal: the framing is broken, or the body is too large.
        """
        self._connection.arm(self._limits.body_timeout, self._on_body_timeout)
        if pipe is not None and (left := self._upload.plain_bytes):
            with _Raising(ClientGone):
                moved = await self._client.splice_to(pipe.write_end, left)
            if not moved:
                raise ClientGone
            self.start_response_timeout()
            with _Raising(_AppStoppedReading):
                await self._open_upstream.wire.splice_from(pipe.read_end, moved)
            self._upload.skip(moved)
            return moved
        data = self._connection.take_buffer()
        if not data:
            with _Raising(ClientGone):
                data = await self._client.recv()
        if not data:
            raise ClientGone
        self.start_response_timeout()
        out = self._take_body(data)
        with _Raising(_AppStoppedReading):
            await self._open_upstream.wire.send(out)
        self._upload.mark_sent()
        return len(data)

    @property
    def _open_upstream(self) -> Upstream:
        """The app's connection. Raises ``_AppStoppedReading`` if the response has ended and released it."""
        if self._claim.upstream is None:
            raise _AppStoppedReading
        return self._claim.upstream

    # --- the response ---------------------------------------------------------------------------------------------

    async def _respond_while_uploading(self) -> bool:
        """Relay the body and the response in parallel, because the response may begin and end before the body does."""
        failure: Exception | None = None
        keep_alive = False
        await become_task(self._connection.server.hub)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_body)
            try:
                keep_alive = await self._respond()
            except (Refusal, ClientGone, AppBroke) as error:
                failure = error
            if failure is not None or self._claim.upstream is None:
                nursery.cancel_scope.cancel()  # the app needs no more of the request, or the exchange failed
        if failure is None:
            return keep_alive and self._upload.is_done
        try:
            raise failure
        finally:
            del failure  # its traceback refers to this frame: a cycle

    async def _respond(self) -> bool:
        """Relay the response, and return whether another request may follow."""
        try:
            response = await self._receive_head()
            while response.is_interim:
                await self._pass_interim(response)
                await self._yield_turn()
                response = await self._receive_head()
            self._connection.disarm()
            if response.status == SWITCHING_PROTOCOLS:
                return await self._switch_protocols(response)
            return await self._pass_on(response)
        except BadResponse as error:
            if self.status:
                raise AppBroke(str(error)) from None
            raise Refusal(502, BAD_RESPONSE, cause=f"The app's answer cannot be used: {error}.") from None

    async def _receive_head(self) -> ResponseHead:
        """Return the next head from the app. Replace a pooled connection once if it turns out to be dead."""
        upstream = self._open_upstream
        buffer, searched = upstream.buffer, 0
        self.check_client_end()
        while not buffer or (found := read_response(buffer, searched)) is None:
            searched = len(buffer)
            try:
                data = await upstream.wire.recv()
            except OSError:
                data = b""
            if data:
                buffer += data
            elif not buffer and upstream.reused and self.request.is_replayable:
                self._connection.server.retries += 1
                self._claim.disconnect()
                await self._send_request(pooled=False)
                upstream = self._open_upstream
            else:
                raise BadResponse(ENDED_EARLY if buffer else NO_RESPONSE)
        response, end = found
        upstream.buffer = buffer[end:]
        return response

    async def _pass_interim(self, response: ResponseHead) -> None:
        """Relay a 1xx at once, unless the client uses HTTP/1.0: RFC 9110 section 15.2."""
        self._open_upstream.reused = False  # the connection is alive; if it breaks now, it was not stale
        if self.request.minor:
            await self._send_to_client(response.serialise(chunked=False, connection=b""))

    async def _pass_on(self, response: ResponseHead) -> bool:
        """Relay a final response, and return whether another request may follow."""
        request, upstream = self.request, self._open_upstream
        download = self._download = Download(request, response)
        self.is_delimited = download.is_delimited
        keep_alive = (
            request.keep_alive
            and self.is_delimited
            and self._upload.is_done
            and not self._connection.server.closes_after_response
        )
        try:
            out = download.feed(upstream.take_buffer())
        except ValueError as error:
            raise BadResponse(str(error)) from None
        self.status = response.status
        add_date(response)
        await self._send_to_client(download.serialise_head(keep_alive=keep_alive) + out)
        if not download.body.is_done:
            await self._pass_body(download, upstream)
        self.is_complete = True
        self._release_upstream(response, download)
        return keep_alive

    async def _pass_body(self, download: Download, upstream: Upstream) -> None:
        """Relay the rest of the response's body as it arrives."""
        with self._connection.server.pipes.borrow(download.plain_bytes) as pipe:
            moved_bytes = 0
            while not download.body.is_done:
                moved_bytes += await self._pass_more(download, upstream, pipe)
                if moved_bytes >= _TURN_BYTES or download.rest:
                    moved_bytes = 0
                    await self._yield_turn()

    async def _pass_more(self, download: Download, upstream: Upstream, pipe: Pipe | None) -> int:
        """Relay the next bytes of the body, and return their number."""
        if pipe is not None and (left := download.plain_bytes):
            with _Raising(AppBroke, "the connection was reset"):
                moved = await upstream.wire.splice_to(pipe.write_end, left)
            if moved:
                with _Raising(ClientGone):
                    await self._client.splice_from(pipe.read_end, moved)
                download.skip(moved)
                self.check_client_end()
                return moved
            data = b""
        else:
            try:
                data = download.rest or await upstream.wire.recv()
            except OSError:
                raise AppBroke("the connection was reset") from None
        try:
            out = download.feed(data) if data else download.feed_eof()
        except ValueError as error:
            raise AppBroke(str(error)) from None
        if out:
            await self._send_to_client(out)
        return len(data)

    def _release_upstream(self, response: ResponseHead, download: Download) -> None:
        """Return the app's connection to the pool if nothing can be left on it; otherwise close it.

        After a request with a body something can be left: an app that does not read the body, or does not support
        chunks, parses it as the next request, and another client would receive the response.
        """
        # After a final response, a client that expects 100 does not send the body.
        never_comes = self.request.expects_continue and not self._upload.has_begun
        if not self._upload.is_done and response.keep_alive and not never_comes:
            self.start_response_timeout()  # the app answered early and still reads: send the rest
        elif self._upload.is_empty and download.leaves_upstream_clean:
            self._claim.return_to_pool()
        else:
            self._claim.disconnect()

    async def _switch_protocols(self, response: ResponseHead) -> bool:
        """Switch protocols, and relay bytes as a tunnel."""
        check_switch(self.request, response)
        assert self.generation is not None
        connection, upstream = self._connection, self._open_upstream
        self.status = response.status
        self.generation.become_tunnel(connection)
        to_client = response.serialise(chunked=False, connection=b"") + upstream.take_buffer()
        if connection.server.is_stopping:
            await self._send_to_client(to_client)
        else:
            connection.tunnel = Tunnel(connection, upstream.wire)
            try:
                await connection.tunnel.run(to_client, connection.take_buffer())
            finally:
                connection.tunnel = None
        self.is_complete = True
        return False

    async def _send_to_client(self, data: bytes) -> None:
        if not self._client.send_soon(data):
            with _Raising(ClientGone):
                await self._client.send(data)
        if self._client.has_ended:
            self._on_client_ended()

    async def _yield_turn(self) -> None:
        """Let all other fibers run, and raise a pending interruption, which otherwise only a wait would raise."""
        await checkpoint(self._connection.server.hub)
        self._client.raise_interruption()
        if self._claim.upstream is not None:
            self._claim.upstream.wire.raise_interruption()

    # --- interruptions --------------------------------------------------------------------------------------------

    def interrupt(self, exception: Exception) -> None:
        """Raise ``exception`` at the current wait: for the app, for a generation, or for a slow client."""
        waits_on = self._client if self._client.is_sending else self._claim.waits_on
        if waits_on is None or not waits_on.interrupt(exception):
            self._client.interrupt(exception)  # it was just woken, and may wait for either next

    def start_response_timeout(self) -> None:
        """Start the time limit for the app to begin its response; after that it may take any time.

        After an early response, the limit is for reading the rest of the request.
        """
        if self.status and not self.is_complete:
            self._connection.disarm()
        else:
            self._connection.arm(self._limits.response_timeout, self._on_response_timeout)

    def _on_response_timeout(self) -> None:
        self.interrupt(Refusal(504, "The app did not answer in time."))

    def _on_body_timeout(self) -> None:
        if self._client.is_receiving:
            self._client.interrupt(Refusal(408, "The body did not arrive in time."))

    def _on_client_left(self) -> None:
        """End the exchange after the client's FIN and the app's silence, unless the client is still reading."""
        if self._client.is_sending:
            self._connection.arm(CLIENT_LEFT_SECONDS, self._on_client_left)
        else:
            self.interrupt(ClientGone())

    def check_client_end(self) -> None:
        """Handle an end of the client's connection that came while no event handler was set."""
        if self._client.has_ended:
            self._on_client_ended()

    def _on_client_ended(self) -> None:
        """End the exchange at a reset. After a FIN, start a time limit, because the client may still read."""
        if self._client.is_gone:
            self.interrupt(ClientGone())
        elif self.status:
            self._connection.arm(CLIENT_LEFT_SECONDS, self._on_client_left)
        elif self._upload.is_done:
            self._connection.arm_earlier(CLIENT_LEFT_SECONDS, self._on_client_left)


class _Raising:
    """A ``with`` block that replaces an ``OSError`` by an exception of ``kind``.

    It is a class, because a generator's frame would keep the error and the request in a reference cycle.
    """

    __slots__ = ("_args", "_kind")

    def __init__(self, kind: type[Exception], *args: str) -> None:
        self._kind = kind
        self._args = args

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, OSError):
            raise self._kind(*self._args) from None
