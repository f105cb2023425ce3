"""What the best suites outside ask of a proxy beyond what the other files test, each over real sockets."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.http1.fields import TOKENS_BY_VALUE
from tests.proxy.scripted import GET, OK, eventually, setting
from tests.proxy.test_tunnel import UPGRADE, open_tunnel

if TYPE_CHECKING:
    from tests.proxy.scripted import Message

CHUNKED_POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def cost(count: int) -> float:
    """Seconds of CPU to read a field of ``count`` bytes that is no list of tokens."""
    begun_seconds = time.process_time()
    TOKENS_BY_VALUE[b"a" * count + b" b"]
    return time.process_time() - begun_seconds


def test_a_long_connection_field_is_read_in_linear_time() -> None:
    assert cost(8000) < 64 * min(cost(500) for _ in range(5)) + 0.05


async def test_a_long_upload_may_have_a_small_extension_on_each_chunk() -> None:
    async with setting() as here:
        client = await here.client()
        chunk = b"1000;signature=0123456789abcdef\r\n" + b"x" * 4096 + b"\r\n"
        here.nursery.start_soon(client.send, CHUNKED_POST + chunk * 1000 + b"0\r\n\r\n")
        peer = await here.app.accept()
        request = await peer.message()
        assert request.body == b"x" * 4096 * 1000
        await peer.send(OK)
        assert (await client.message()).status == 200


async def test_blank_lines_without_end_are_refused() -> None:
    async with setting(limits={"head_timeout": 0.5}) as here:
        client = await here.client()
        await client.send(b"\r\n" * 100_000)
        assert (await client.message()).status == 400


async def test_a_flood_of_extensions_over_many_chunks_is_refused() -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(CHUNKED_POST + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 100)
        assert (await client.message()).status == 400


async def test_a_target_beyond_the_limit_is_a_414() -> None:
    async with setting() as here:
        client = await here.client()
        response = await client.ask(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (response.status, response[b"connection"]) == (414, b"close")
        assert here.app.nothing_waits()


async def test_a_426_says_which_upgrade_it_wants() -> None:
    async with setting() as here:
        client, peer = await here.pair(UPGRADE)
        await peer.send(
            b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
        )
        response = await client.message()
        assert (response.status, response[b"upgrade"], response[b"sec-websocket-version"]) == (426, b"websocket", b"13")


async def test_our_own_answers_have_a_date() -> None:
    async with setting() as here:
        client = await here.client()
        response = await client.ask(b"GET / HTTP/1.1\r\n\r\n")
        assert response.status == 400
        assert response[b"date"].endswith(b" GMT")


async def test_a_reset_upload_also_reaches_an_app_that_does_not_read() -> None:
    async with setting() as here:
        client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        client.send_until_full()
        await trio.sleep(0.2)
        client.send_until_full()
        client.reset()
        poll = select.poll()
        poll.register(peer.sock.fileno(), select.POLLRDHUP)
        with trio.fail_after(20):
            await eventually(lambda: bool(poll.poll(0)))


@pytest.mark.parametrize("trailers", [b"X: a\n\r\n", b"X: a\n\n", b"X: a\nY: b"])
async def test_a_bare_line_feed_in_trailers_is_refused_at_once(trailers: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(CHUNKED_POST + b"2\r\nok\r\n0\r\n" + trailers)
        with trio.fail_after(20):
            assert (await client.message()).status == 400


async def test_a_request_without_an_answer_at_the_end_of_a_stop_is_logged() -> None:
    async with setting(stop_seconds=0.3) as here:
        client, _ = await here.pair()
        here.stop.set()
        response = await client.message()
        assert (response.status, response[b"connection"]) == (504, b"close")


@pytest.mark.parametrize("length", [1, 50_000, 4 << 20])
async def test_an_early_answer_is_received_though_the_app_closes_with_bytes_unread(length: int) -> None:
    async with setting() as here:
        for _ in range(10):
            client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (length + 1))
            await client.send(b"x" * min(length, 100_000))
            await trio.sleep(0.01)  # it lies in the app's socket: the close becomes a reset
            await peer.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
            peer.close()
            response = await client.message()
            assert response.status in {413, 502}
            client.close()


async def test_many_interim_responses_do_no_harm() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        here.nursery.start_soon(peer.send, b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" * 2000 + OK)
        for _ in range(2000):
            assert (await client.head()).status == 103
        assert (await client.message()).body == b"ok"


async def test_a_thousand_pipelined_requests_are_answered_in_order() -> None:
    async with setting() as here:

        def number(request: Message) -> bytes:
            target = request.line.split(b" ")[1]
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target)

        here.nursery.start_soon(here.app.serve, number)
        client = await here.client()
        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % each for each in range(1000))
        here.nursery.start_soon(client.send, requests)
        assert [(await client.message()).body for _ in range(1000)] == [b"/%d" % each for each in range(1000)]


async def test_small_messages_of_many_in_one_moment_are_all_passed_on() -> None:
    async with setting() as here:
        tunnels = [await open_tunnel(here) for _ in range(100)]
        for client, peer in tunnels:  # no checkpoint in between: the server hears of all at once
            os.write(client.sock.fileno(), b"ping")
            os.write(peer.sock.fileno(), b"pong")
        for client, peer in tunnels:
            assert await client.take(4) == b"pong"
            assert await peer.take(4) == b"ping"


async def test_slow_clients_of_every_kind_do_not_hold_up_another() -> None:
    async with setting() as here:
        big = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * (1 << 20)
        for _ in range(60):
            await (await here.client()).send(b"GET / HTTP/1.1\r\nX: ")  # slow head
            await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")  # slow body
            _, peer = await here.pair()  # slow reader
            here.nursery.start_soon(peer.send, big)
        here.serve()
        other = await here.client()
        for _ in range(20):
            assert (await other.ask(GET)).body == b"ok"
