"""One request and its response: take a lease and a connection, send the request, relay the response."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rainbowd.http1 import ENDED_EARLY, NO_RESPONSE, BadResponse, Refusal, read_response
from rainbowd.http1.response import SWITCHING_PROTOCOLS
from rainbowd.proxy.background import run_with_background
from rainbowd.proxy.claim import Claim
from rainbowd.proxy.client_identity import client_address, client_identity
from rainbowd.proxy.download import Download, check_switch
from rainbowd.proxy.exchange_watch import ExchangeWatch
from rainbowd.proxy.failures import AppBroke
from rainbowd.proxy.fiber import become_task
from rainbowd.proxy.old_assets import NOT_FOUND, OldAssets
from rainbowd.proxy.relay import DownloadRelay, UploadRelay
from rainbowd.proxy.request_id import add_date, add_request_id
from rainbowd.proxy.tunnel import Tunnel
from rainbowd.proxy.upload import NO_UPLOAD, Upload

if TYPE_CHECKING:
    from rainbowd.http1 import RequestHead, ResponseHead
    from rainbowd.proxy.client import Client
    from rainbowd.proxy.context import Context
    from rainbowd.roster import Generation

BAD_RESPONSE = "The app's answer was incomplete or not valid."
"""The text that the client receives; the log has the reason."""


class Exchange:
    """One request and its response.

    Args:
        client: the client's connection.
        request: the head that the client sent.
        context: what all connections share.

    Attributes:
        status: of the app's final response; 0 before.
        is_delimited: whether the client can tell a cut response from a complete one.
        started_at: on the monotonic clock, in seconds.
    """

    __slots__ = (
        "_claim",
        "_context",
        "_download",
        "_tunnel",
        "_upload",
        "_watch",
        "client",
        "is_delimited",
        "request",
        "started_at",
        "status",
    )

    def __init__(self, client: Client, request: RequestHead, context: Context) -> None:
        self.client = client
        self.request = request
        self.status = 0
        self.is_delimited = True
        self.started_at = time.monotonic()
        self._context = context
        self._claim = Claim(client, context)
        self._upload = NO_UPLOAD
        if request.has_body:
            body_bytes = context.settings.limits.body_bytes
            self._upload = Upload(request.body(), body_bytes, chunked=request.chunked)
        self._watch = ExchangeWatch(client, self._claim, self._upload, context)
        self._download: Download | None = None
        self._tunnel: Tunnel | None = None

    async def run(self) -> bool:
        """Relay the request and its response, from the lease to its end.

        Returns:
            Whether another request may follow on the client's connection.

        Raises:
            Refusal: must be sent to the client, if no part of a response was sent.
            ClientGone, AppBroke: nothing more can be sent to the client.
        """
        client, watch = self.client, self._watch
        client.exchange = self
        client.wire.on_ended = watch.on_client_ended
        try:
            self._upload.check_length(self.request.length_bytes or 0)
            await self._send_request(pooled=self.request.is_replayable)
            if self._upload.is_done:
                return await self._respond()
            return await self._respond_while_uploading()
        finally:
            client.exchange = client.wire.on_ended = None
            client.wire.clear_interruption()
            client.disarm()
            self._claim.release(aborted=not self._upload.is_done)

    def cut(self) -> None:
        """End the exchange or its tunnel, so that the client can tell it from a complete response."""
        if self._tunnel is not None:
            self._tunnel.close()
        else:
            self._watch.cut()

    def client_identity(self, by: str) -> bytes:
        """Return what identifies the client of the request.

        Args:
            by: ``client``, ``cookie:NAME`` or ``header:NAME``.
        """
        address = client_address(self.request, self.client.peer, self._context.settings.trust)
        return client_identity(self.request, address, by)

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

    @property
    def can_be_followed(self) -> bool:
        """Whether another request may follow on the client's connection if rainbowd answers this one."""
        return self._upload.is_done and self.request.keep_alive and not self.request.has_body

    @property
    def seems_complete(self) -> bool:
        """Whether a response was cut, and only a reset can show that to the client."""
        return bool(self.status) and not self._watch.is_complete and not self.is_delimited

    # --- the request ----------------------------------------------------------------------------------------------

    async def _send_request(self, *, pooled: bool) -> None:
        """Send the head, with the part of the body that has arrived."""
        claim, upload = self._claim, self._upload
        upstream = claim.take_pooled() if pooled else None
        if upstream is None:
            upstream = await claim.connect(self._watch, pooled=pooled)
        add_request_id(self.request)
        data = self.request.serialise(peer=self.client.peer)
        if not upload.is_done:
            body, self.client.buffer = upload.feed(self.client.take_buffer())
            data += body
        self._watch.start_response_timeout()
        if not upstream.wire.send_soon(data):
            with contextlib.suppress(OSError):  # the app reads no more, but may have answered
                await upstream.wire.send(data)
        upload.mark_sent()

    async def _respond_while_uploading(self) -> bool:
        """Relay the body and the response in parallel, because the response may begin and end before the body does."""
        upload = UploadRelay(self._upload, self.client, self._claim, self._watch, self._context.pipes)
        await become_task(self._context.reactor)
        # Without its connection, the app needs no more of the request.
        keep_alive = await run_with_background(self._respond, upload.run, lambda: self._claim.upstream is not None)
        return keep_alive and self._upload.is_done

    # --- the response ---------------------------------------------------------------------------------------------

    async def _respond(self) -> bool:
        """Relay the response, and return whether another request may follow."""
        try:
            response = await self._receive_head()
            while response.is_interim:
                await self._pass_interim(response)
                await self._watch.yield_turn()
                response = await self._receive_head()
            self.client.disarm()
            if response.status == SWITCHING_PROTOCOLS:
                return await self._switch_protocols(response)
            if response.status >= NOT_FOUND:
                response = await OldAssets(self.client, self._claim, self._watch, self._context).replace(
                    self.request, response
                )
            return await self._pass_on(response)
        except BadResponse as error:
            if self.status:
                raise AppBroke(str(error)) from None
            raise Refusal(502, BAD_RESPONSE, cause=f"The app's answer cannot be used: {error}.") from None

    async def _receive_head(self) -> ResponseHead:
        """Return the next head from the app. Replace a pooled connection once if it turns out to be dead."""
        upstream = self._claim.require_upstream()
        buffer, searched = upstream.buffer, 0
        self._watch.check_client_end()
        while not buffer or (found := read_response(buffer, searched)) is None:
            searched = len(buffer)
            try:
                data = await upstream.wire.recv()
            except OSError:
                data = b""
            if data:
                buffer += data
            elif not buffer and upstream.reused and self.request.is_replayable:
                self._context.retries += 1
                self._claim.disconnect()
                await self._send_request(pooled=False)
                upstream = self._claim.require_upstream()
            else:
                raise BadResponse(ENDED_EARLY if buffer else NO_RESPONSE)
        response, end = found
        upstream.buffer = buffer[end:]
        return response

    async def _pass_interim(self, response: ResponseHead) -> None:
        """Relay a 1xx at once, unless the client uses HTTP/1.0: RFC 9110 section 15.2."""
        self._claim.require_upstream().reused = False  # the connection is alive; if it breaks now, it was not stale
        if self.request.minor:
            await self._send_to_client(response.serialise(chunked=False, connection=b""))

    async def _pass_on(self, response: ResponseHead) -> bool:
        """Relay a final response, and return whether another request may follow."""
        request, upstream = self.request, self._claim.require_upstream()
        download = self._download = Download(request, response)
        self.is_delimited = download.is_delimited
        keep_alive = (
            request.keep_alive
            and self.is_delimited
            and self._upload.is_done
            and not self._context.closes_after_response
        )
        try:
            out = download.feed(upstream.take_buffer())
        except ValueError as error:
            raise BadResponse(str(error)) from None
        self._begin(response)
        add_date(response)
        await self._send_to_client(download.serialise_head(keep_alive=keep_alive) + out)
        if not download.body.is_done:
            await DownloadRelay(download, upstream, self.client, self._watch, self._context.pipes).run()
        self._watch.is_complete = True
        self._release_upstream(response, download)
        return keep_alive

    def _begin(self, response: ResponseHead) -> None:
        """Note that the final response begins: from now on no other can be sent."""
        self.status = response.status
        self._watch.has_begun = True

    def _release_upstream(self, response: ResponseHead, download: Download) -> None:
        """Return the app's connection to the pool if nothing can be left on it; otherwise close it.

        After a request with a body something can be left: an app that does not read the body, or does not support
        chunks, parses it as the next request, and another client would receive the response.
        """
        # After a final response, a client that expects 100 does not send the body.
        never_comes = self.request.expects_continue and not self._upload.has_begun
        if not self._upload.is_done and response.keep_alive and not never_comes:
            self._watch.start_response_timeout()  # the app answered early and still reads: send the rest
        elif self._upload.is_empty and download.leaves_upstream_clean:
            self._claim.return_to_pool()
        else:
            self._claim.disconnect()

    async def _switch_protocols(self, response: ResponseHead) -> bool:
        """Switch protocols, and relay bytes as a tunnel."""
        check_switch(self.request, response)
        client, upstream = self.client, self._claim.require_upstream()
        self._begin(response)
        self._claim.become_tunnel()
        to_client = response.serialise(chunked=False, connection=b"") + upstream.take_buffer()
        if self._context.is_stopping:
            await self._send_to_client(to_client)
        else:
            self._tunnel = Tunnel(client, upstream.wire, self._context.reactor)
            await self._tunnel.run(to_client, client.take_buffer())
        self._watch.is_complete = True
        return False

    async def _send_to_client(self, data: bytes) -> None:
        if not self.client.wire.send_soon(data):
            await self.client.send(data)
        self._watch.check_client_end()
