"""The relay of bodies: the parts that have not arrived together with their head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.http1 import Refusal
from rainbowd.proxy.failures import AppBroke, AppStoppedReading, ClientGone, OSErrorAs

if TYPE_CHECKING:
    from rainbowd.proxy.claim import Claim
    from rainbowd.proxy.client import Client
    from rainbowd.proxy.download import Download
    from rainbowd.proxy.exchange_watch import ExchangeWatch
    from rainbowd.proxy.pipes import Pipe, Pipes
    from rainbowd.proxy.upload import Upload
    from rainbowd.proxy.upstream import Upstream

_TURN_BYTES = 1 << 20
"""How many bytes of a body move before other fibers run."""


class UploadRelay:
    """The relay of the rest of a request's body, from the client to the app.

    Args:
        upload: decodes the body.
        client: the source.
        claim: has the connection to the app, until the response has ended.
        watch: has the time limits.
        pipes: lend a pipe if the body is large.
    """

    __slots__ = ("_claim", "_client", "_pipes", "_upload", "_watch")

    def __init__(self, upload: Upload, client: Client, claim: Claim, watch: ExchangeWatch, pipes: Pipes) -> None:
        self._upload = upload
        self._client = client
        self._claim = claim
        self._watch = watch
        self._pipes = pipes

    async def run(self) -> None:
        """Relay until the body ends or the app reads no more. A failure interrupts the exchange."""
        watch = self._watch
        try:
            with self._pipes.borrow(self._upload.plain_bytes) as pipe:
                await self._move_all(pipe)
            if watch.is_complete:  # the app answered early: nothing else waits until the rest is sent
                with OSErrorAs(AppStoppedReading):
                    await self._claim.require_upstream().wire.drain()
            watch.check_client_end()
        except AppStoppedReading:
            pass
        except (Refusal, ClientGone, AppBroke) as error:
            watch.interrupt(error)

    async def _move_all(self, pipe: Pipe | None) -> None:
        moved_bytes = 0
        while not self._upload.is_done:
            self._watch.start_body_timeout()
            if pipe is not None and (left := self._upload.plain_bytes):
                moved_bytes += await self._splice(pipe, left)
            else:
                moved_bytes += await self._copy()
            if moved_bytes >= _TURN_BYTES or self._client.buffer:
                moved_bytes = 0
                await self._watch.yield_turn()

    async def _splice(self, pipe: Pipe, left_bytes: int) -> int:
        """Move the next bytes through ``pipe``, and return their number."""
        with OSErrorAs(ClientGone):
            moved = await self._client.wire.splice_to(pipe.write_end, left_bytes)
        if not moved:
            raise ClientGone
        self._watch.start_response_timeout()
        with OSErrorAs(AppStoppedReading):
            await self._claim.require_upstream().wire.splice_from(pipe.read_end, moved)
        self._upload.skip(moved)
        return moved

    async def _copy(self) -> int:
        """Decode and relay the next bytes, and return their number."""
        client = self._client
        data = client.take_buffer()
        if not data:
            with OSErrorAs(ClientGone):
                data = await client.wire.recv()
        if not data:
            raise ClientGone
        self._watch.start_response_timeout()
        out, client.buffer = self._upload.feed(data)
        with OSErrorAs(AppStoppedReading):
            await self._claim.require_upstream().wire.send(out)
        self._upload.mark_sent()
        return len(data)


class DownloadRelay:
    """The relay of the rest of a response's body, from the app to the client.

    Args:
        download: decodes the body.
        upstream: the source.
        client: the sink.
        watch: has the time limits.
        pipes: lend a pipe if the body is large.
    """

    __slots__ = ("_client", "_download", "_pipes", "_upstream", "_watch")

    def __init__(
        self, download: Download, upstream: Upstream, client: Client, watch: ExchangeWatch, pipes: Pipes
    ) -> None:
        self._download = download
        self._upstream = upstream
        self._client = client
        self._watch = watch
        self._pipes = pipes

    async def run(self) -> None:
        """Relay until the body ends.

        Raises:
            AppBroke: the app broke the body off, or its framing is broken.
            ClientGone: the client closed its connection.
        """
        download = self._download
        with self._pipes.borrow(download.plain_bytes) as pipe:
            moved_bytes = 0
            while not download.body.is_done:
                if pipe is not None and (left := download.plain_bytes):
                    moved_bytes += await self._splice(pipe, left)
                else:
                    moved_bytes += await self._copy()
                if moved_bytes >= _TURN_BYTES or download.rest:
                    moved_bytes = 0
                    await self._watch.yield_turn()

    async def _splice(self, pipe: Pipe, left_bytes: int) -> int:
        """Move the next bytes through ``pipe``, and return their number."""
        with OSErrorAs(AppBroke, "the connection was reset"):
            moved = await self._upstream.wire.splice_to(pipe.write_end, left_bytes)
        if not moved:
            return await self._pass(b"")
        with OSErrorAs(ClientGone):
            await self._client.wire.splice_from(pipe.read_end, moved)
        self._download.skip(moved)
        self._watch.check_client_end()
        return moved

    async def _copy(self) -> int:
        """Decode and relay the next bytes, and return their number."""
        data = self._download.rest
        if not data:
            with OSErrorAs(AppBroke, "the connection was reset"):
                data = await self._upstream.wire.recv()
        return await self._pass(data)

    async def _pass(self, data: bytes) -> int:
        """Decode ``data``, which is empty at the app's end, and send it to the client."""
        try:
            out = self._download.feed(data) if data else self._download.feed_eof()
        except ValueError as error:
            raise AppBroke(str(error)) from None
        if out:
            await self._client.send(out)
            self._watch.check_client_end()
        return len(data)
