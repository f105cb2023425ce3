"""The relay of bodies, without an exchange."""

from __future__ import annotations

import pytest
import trio

from rainbowd.http1 import LengthBody, read_response
from rainbowd.proxy.claim import Claim
from rainbowd.proxy.download import Download
from rainbowd.proxy.exchange_watch import ExchangeWatch
from rainbowd.proxy.failures import AppBroke
from rainbowd.proxy.relay import DownloadRelay, UploadRelay
from rainbowd.proxy.upload import NO_UPLOAD, Upload
from tests.proxy.alone import alone, head
from tests.proxy.test_claim import Clock

SIZES = [5, 600_000]
"""One body that is copied, and one that moves through a pipe."""


@pytest.mark.parametrize("size", SIZES)
async def test_an_upload_reaches_the_app_and_ends_with_its_last_byte(size: int) -> None:
    async with alone() as parts, trio.open_nursery() as nursery:
        claim, upload = Claim(parts.client, parts.context), Upload(LengthBody(size), None, chunked=False)
        await claim.connect(Clock(), pooled=False)
        app = await parts.accept()
        watch = ExchangeWatch(parts.client, claim, upload, parts.context)
        nursery.start_soon(UploadRelay(upload, parts.client, claim, watch, parts.context.pipes).run)
        nursery.start_soon(parts.far.send, b"x" * size)
        assert await app.take(size) == b"x" * size
        app.close()
    assert upload.is_done
    claim.release(aborted=False)
    parts.context.pipes.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_download_reaches_the_client_or_fails_at_the_early_end(size: int, is_whole: bool) -> None:
    async with alone() as parts, trio.open_nursery() as nursery:
        claim = Claim(parts.client, parts.context)
        upstream = await claim.connect(Clock(), pooled=False)
        app = await parts.accept()
        found = read_response(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, 0)
        assert found is not None
        download, watch = Download(head(), found[0]), ExchangeWatch(parts.client, claim, NO_UPLOAD, parts.context)
        failures = list[str]()

        @nursery.start_soon
        async def run() -> None:
            try:
                await DownloadRelay(download, upstream, parts.client, watch, parts.context.pipes).run()
            except AppBroke as error:
                failures.append(str(error))

        sent = size - (not is_whole)
        nursery.start_soon(app.send, b"x" * sent)
        assert await parts.far.take(sent) == b"x" * sent
        app.close()
    assert (bool(failures), download.sent_bytes) == (not is_whole, sent)
    claim.release(aborted=False)
    parts.context.pipes.close()
