"""Bodies pass as they come, whole, and no faster than they are taken."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from rainbowd.address import UnixAddress
from rainbowd.http1 import ChunkedBody
from rainbowd.http1.chunked import CHUNKS_PER_FEED
from rainbowd.proxy.fiber import checkpoint
from tests.proxy.scripted import GET, OK, Peer, Setting, setting

if TYPE_CHECKING:
    from pathlib import Path

CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BIG = bytes(range(256)) * (20 << 12)
"""20 MiB."""


def sized_post(length_bytes: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length_bytes


async def take_digest(peer: Peer, length_bytes: int) -> str:
    digest = hashlib.sha256()
    while length_bytes:
        data = await peer.take(min(length_bytes, 65536))
        digest.update(data)
        length_bytes -= len(data)
    return digest.hexdigest()


async def test_a_sized_upload_reaches_the_app_while_it_is_sent() -> None:
    async with setting() as here:
        client, peer = await here.pair(sized_post(6))
        await client.send(b"one")
        assert await peer.take(3) == b"one"
        await client.send(b"two")
        assert await peer.take(3) == b"two"
        await peer.send(OK)
        assert (await client.message()).body == b"ok"


async def test_a_chunked_upload_reaches_the_app_while_it_is_sent() -> None:
    async with setting() as here:
        client, peer = await here.pair(CHUNKED_POST)
        await client.send(b"3\r\none\r\n")
        assert await peer.until(b"one\r\n") == b"3\r\none\r\n"
        await client.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert await peer.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"
        await peer.send(OK)
        assert (await client.message()).body == b"ok"


async def test_events_reach_the_client_while_the_response_continues() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(CHUNKED_OK)
        assert (await client.head()).status == 200
        for number in range(3):
            await peer.send(b"7\r\nevent %d\r\n" % number)
            assert await client.until(b"\r\nevent %d\r\n" % number) == b"7\r\nevent %d\r\n" % number
        await peer.send(b"0\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"0\r\n\r\n"


async def test_a_response_that_ends_with_the_connection_is_streamed_too() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        assert (await client.head())[b"transfer-encoding"] == b"chunked"
        await peer.send(b"one")
        assert await client.until(b"one\r\n") == b"3\r\none\r\n"
        peer.close()
        assert await client.until(b"\r\n\r\n") == b"0\r\n\r\n"


async def test_a_thousand_small_events_are_passed_on_without_loss() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(CHUNKED_OK)
        events = [b"data: event %07d\n" % number for number in range(1000)]

        async def write() -> None:
            for event in events:
                await peer.send(b"%x\r\n%b\r\n" % (len(event), event))
                await trio.lowlevel.checkpoint()
            await peer.send(b"0\r\n\r\n")

        here.nursery.start_soon(write)
        assert (await client.message()).body == b"".join(events)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_big_upload_arrives_as_it_was_sent(chunked: bool) -> None:
    async with setting() as here:
        client, peer = await here.pair(CHUNKED_POST if chunked else sized_post(len(BIG)))
        here.nursery.start_soon(client.send, b"%x\r\n%b\r\n0\r\n\r\n" % (len(BIG), BIG) if chunked else BIG)
        if chunked:
            body, digest = ChunkedBody(strict=True), hashlib.sha256()
            while not body.is_done:
                payload, peer.buffer = body.feed(peer.buffer or await peer.sock.recv(65536))
                digest.update(payload)
            assert digest.hexdigest() == hashlib.sha256(BIG).hexdigest()
        else:
            assert await take_digest(peer, len(BIG)) == hashlib.sha256(BIG).hexdigest()
        await peer.send(OK)
        assert (await client.message()).body == b"ok"


async def test_a_big_download_arrives_as_it_was_sent() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        here.nursery.start_soon(peer.send, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG)
        await client.head()
        assert await take_digest(client, len(BIG)) == hashlib.sha256(BIG).hexdigest()


async def test_uploads_and_downloads_at_full_speed_leave_others_their_turn() -> None:
    async with setting() as here:
        client, peer = await here.pair(sized_post(len(BIG)))
        here.nursery.start_soon(client.send, BIG)
        here.nursery.start_soon(peer.take, len(BIG))
        here.serve()
        for _ in range(5):
            assert (await (await here.client()).ask()).body == b"ok"


async def test_twenty_thousand_chunks_of_one_byte_arrive() -> None:
    async with setting() as here:
        client = await here.client()
        here.nursery.start_soon(client.send, CHUNKED_POST + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
        _, request = await here.app.answer(CHUNKED_OK + b"1\r\ny\r\n" * 20_000 + b"0\r\n\r\n")
        assert request.body == b"x" * 20_000
        assert (await client.message()).body == b"y" * 20_000


@pytest.mark.parametrize("framing", [b"Content-Length: %d" % len(BIG), b"Transfer-Encoding: chunked"])
async def test_a_half_closed_client_may_read_as_slowly_as_it_likes(framing: bytes) -> None:
    body = BIG if framing.startswith(b"Content") else b"%x\r\n%b\r\n0\r\n\r\n" % (len(BIG), BIG)
    async with setting() as here:
        client, peer = await here.pair()
        await client.fin()
        here.nursery.start_soon(peer.send, b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + body)
        await client.head()
        for _ in range(3):
            await trio.sleep(0.8)
            await client.take(1 << 20)
        assert len(await client.rest()) > len(BIG) - (3 << 20) - 1


async def watch_arrivals(here: Setting, sender: Peer, data: bytes, receiver: Peer, expected_bytes: int) -> set[int]:
    """Send ``data``, and return how much had arrived in each turn of a fiber that always wants one.

    The receiver must have a Unix socket, at which bytes arrive while they are sent.
    """
    arrived = [0]
    is_enough = trio.Event()

    async def look() -> None:
        while arrived[-1] < expected_bytes:
            arrived.append(receiver.count_unread())
            await checkpoint(here.context.reactor)
        is_enough.set()

    here.context.fibers.start(look())
    await sender.send(data)
    await is_enough.wait()
    return set(arrived)


async def test_each_of_many_interim_responses_gives_others_a_turn(tmp_path: Path) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    async with setting(listen=UnixAddress(tmp_path / "proxy")) as here:
        client, peer = await here.pair()
        arrived = await watch_arrivals(here, peer, interim * 100 + OK, client, 100 * len(interim))
        assert len(arrived) >= 100 // 2
        for _ in range(100):
            assert (await client.head()).status == 103
        assert (await client.message()).body == b"ok"


async def test_tiny_chunks_give_others_a_turn_by_their_number(tmp_path: Path) -> None:
    chunks = 5000
    async with setting(app_address=UnixAddress(tmp_path / "app")) as here:
        client, peer = await here.pair(CHUNKED_POST)
        arrived = await watch_arrivals(here, client, b"1\r\nx\r\n" * chunks + b"0\r\n\r\n", peer, chunks)
        assert len(arrived) >= chunks // CHUNKS_PER_FEED // 2


# --- backpressure -----------------------------------------------------------------------------------------------------


async def stalls(peer: Peer, limit_bytes: int = 64 << 20) -> bool:
    """Whether the other side stops taking what ``peer`` sends, before ``limit_bytes``."""
    sent_bytes = 0
    while sent_bytes < limit_bytes:
        with trio.move_on_after(0.5):
            sent_bytes += await peer.sock.send(b"x" * 65536)
            continue
        return True
    return False


async def test_a_client_that_does_not_read_holds_the_app_back() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        assert await stalls(peer)
        await client.take(1 << 20)
        client.reset()


async def test_an_app_that_does_not_read_holds_the_client_back() -> None:
    async with setting() as here:
        client, peer = await here.pair(sized_post(1 << 40))
        assert await stalls(client)
        peer.reset()
        assert (await client.head()).status == 502


async def test_a_pipelined_flood_is_held_back() -> None:
    async with setting() as here:
        client, _ = await here.pair()
        assert await stalls(client)
        client.reset()


# --- early answers ----------------------------------------------------------------------------------------------------

NO = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"


@pytest.mark.parametrize("length_bytes", [100, 100 << 20])
async def test_an_answer_before_the_end_of_the_upload_is_received(length_bytes: int) -> None:
    async with setting() as here:
        client, peer = await here.pair(sized_post(length_bytes))
        await client.send(b"x" * 50)
        await peer.take(50)
        await peer.send(NO)
        peer.close()
        response = await client.message()
        assert (response.status, response.body, response[b"connection"]) == (413, b"no", b"close")
        assert await client.rest() == b""


@pytest.mark.parametrize("reset", [True, False])
async def test_an_answer_is_received_while_the_client_sends_at_full_speed(reset: bool) -> None:
    async with setting() as here:
        client, peer = await here.pair(sized_post(100 << 20))

        async def send() -> None:
            with contextlib.suppress(OSError):  # what was not wanted any more
                await client.send(b"x" * (100 << 20))

        here.nursery.start_soon(send)
        await peer.take(1 << 20)
        await peer.send(NO)
        if reset:
            peer.reset()
        else:
            peer.close()  # with bytes unread: also a reset, once all was sent
        response = await client.head()
        assert response.status in {413, 502}
        if response.status == 413:
            assert await client.take(2) == b"no"


async def test_an_answer_in_the_same_moment_as_more_of_the_upload_is_received() -> None:
    async with setting() as here:
        for _ in range(20):
            client, peer = await here.pair(sized_post(100))
            await trio.testing.wait_all_tasks_blocked(0.01)
            os.write(peer.sock.fileno(), NO)  # no checkpoint in between: the server hears of both at once
            os.write(client.sock.fileno(), b"x" * 50)
            assert (await client.message()).body == b"no"
            client.close()


async def test_an_app_that_answers_early_may_still_read_the_rest() -> None:
    async with setting() as here:
        client, peer = await here.pair(sized_post(6))
        await client.send(b"one")
        await peer.send(OK)
        response = await client.message()
        assert (response.body, response[b"connection"]) == (b"ok", b"close")
        await client.send(b"two")
        assert await peer.take(6) == b"onetwo"
        assert await client.rest() == b""


async def test_an_app_that_answers_early_and_reads_no_more_is_left() -> None:
    async with setting(limits={"response_timeout": 0.2}) as here:
        client, peer = await here.pair(sized_post(1 << 40))
        await peer.send(OK)
        assert (await client.message()).body == b"ok"
        with pytest.raises(OSError, match=r"."):  # noqa: PT012 - it takes a few until the end is here
            while True:
                await client.send(b"x" * 65536)


async def test_a_download_may_begin_before_the_upload_ends() -> None:
    async with setting(limits={"response_timeout": 0.2}) as here:
        client, peer = await here.pair(CHUNKED_POST)
        await peer.send(CHUNKED_OK)
        await client.head()
        for _ in range(3):
            await client.send(b"4\r\nping\r\n")
            assert await peer.until(b"\r\nping\r\n") == b"4\r\nping\r\n"
            await trio.sleep(0.2)
            await peer.send(b"4\r\npong\r\n")
            assert await client.until(b"\r\npong\r\n") == b"4\r\npong\r\n"
        await peer.send(b"0\r\n\r\n")
        await client.send(b"0\r\n\r\n")
        assert await client.rest() == b"0\r\n\r\n"


async def test_a_new_request_is_served_while_three_hundred_clients_are_idle() -> None:
    async with setting() as here:
        here.serve()
        for _ in range(300):
            await (await here.client()).send(GET[:10])
        assert (await (await here.client()).ask()).body == b"ok"
