"""One request and its response, over real sockets."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from rainbowd.address import UnixAddress
from rainbowd.http1 import Refusal
from rainbowd.proxy.exchange import Exchange
from rainbowd.proxy.failures import AppBroke
from tests.proxy.alone import alone, head
from tests.proxy.scripted import GET, OK, eventually, setting

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proxy.scripted import Message, Peer

POST = b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
OLD_GET = b"GET / HTTP/1.0\r\n\r\n"
CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


def echo(request: Message) -> bytes:
    """The request's own target and body."""
    body = request.line.split(b" ")[1] + b" " + request.body
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def test_a_request_and_its_response_pass_as_they_are() -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(
            b"PROPFIND //a/../%2F?x=a;b&c=%zz HTTP/1.1\r\nHost: App.example:80\r\nX: 1\r\nx: \xff\r\n"
            b"Connection: X-Hop\r\nX-Hop: 1\r\n\r\n"
        )
        _, request = await here.app.answer(
            b"HTTP/1.1 299 Odd \xe9\r\nSet-Cookie: a=1\r\nX: \x80\xff\r\nset-cookie: b=2\r\nLocation: /x\r\n"
            b"Keep-Alive: timeout=5\r\nContent-Encoding: gzip\r\nSet-Cookie: a=1\r\n"
            b"dATE: whenever\r\n"
            b"Content-Length: 4\r\n\r\n\x1f\x8b\x00\xff"
        )
        assert request.line == b"PROPFIND //a/../%2F?x=a;b&c=%zz HTTP/1.1"
        assert request.fields[:3] == [(b"Host", b"App.example:80"), (b"X", b"1"), (b"x", b"\xff")]
        assert b"user-agent" not in request
        assert b"accept-encoding" not in request
        response = await client.message()
        assert response.line == b"HTTP/1.1 299 Odd \xe9"
        assert response.fields == [
            (b"Set-Cookie", b"a=1"),
            (b"X", b"\x80\xff"),
            (b"set-cookie", b"b=2"),
            (b"Location", b"/x"),
            (b"Content-Encoding", b"gzip"),
            (b"Set-Cookie", b"a=1"),
            (b"dATE", b"whenever"),
            (b"Content-Length", b"4"),
        ]
        assert response.body == b"\x1f\x8b\x00\xff"


async def test_the_app_learns_where_a_request_came_from() -> None:
    async with setting(trust=()) as here:
        client = await here.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-ID: theirs\r\n\r\n")
        _, request = await here.app.answer()
        assert request[b"x-forwarded-for"] == b"127.0.0.1"
        assert (request[b"x-forwarded-proto"], request[b"x-forwarded-host"]) == (b"http", b"a")
        assert re.fullmatch(
            rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", request[b"x-request-id"]
        )
        assert re.fullmatch(rb"t=[0-9]{10}\.[0-9]{3}", request[b"x-request-start"])


async def test_a_trusted_peer_is_believed() -> None:
    async with setting(trust=[ipaddress.IPv4Network("127.0.0.1/32")]) as here:
        client = await here.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-ID: theirs\r\n\r\n")
        _, request = await here.app.answer()
        assert request[b"x-forwarded-for"] == b"192.0.2.1, 127.0.0.1"
        assert request[b"x-request-id"] == b"theirs"


async def test_unix_sockets_serve_on_both_sides_and_their_peers_are_trusted(tmp_path: Path) -> None:
    async with setting(
        trust=(), listen=UnixAddress(tmp_path / "front"), app_address=UnixAddress(tmp_path / "app")
    ) as here:
        client = await here.client()
        for number in range(3):
            await client.send(
                b"POST /%d HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 5\r\n\r\nhello" % number
            )
            _, request = await here.app.answer()
            assert request[b"x-forwarded-for"] == b"192.0.2.1"
            assert request.body == b"hello"
            assert (await client.message()).body == b"ok"


# --- keep-alive -------------------------------------------------------------------------------------------------------


async def test_requests_follow_each_other_on_both_connections() -> None:
    async with setting() as here:
        here.nursery.start_soon(here.app.serve, echo)
        client = await here.client()
        for number in range(10):
            assert (await client.ask(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)).body == b"/%d " % number
        assert here.app.accepted == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with setting() as here:
        here.nursery.start_soon(here.app.serve, echo)
        client = await here.client()
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(5)))
        assert [(await client.message()).body for _ in range(5)] == [b"/%d " % number for number in range(5)]


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
async def test_pipelined_bodies_are_not_confused(framed: bytes) -> None:
    async with setting() as here:
        here.nursery.start_soon(here.app.serve, echo)
        client = await here.client()
        await client.send((b"POST /1 HTTP/1.1\r\nHost: a\r\n" + framed + b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n") * 2)
        assert [(await client.message()).body for _ in range(4)] == [b"/1 hello", b"/2 ", b"/1 hello", b"/2 "]


async def test_messages_in_packets_of_one_byte_are_understood() -> None:
    async with setting() as here:
        client = await here.client()
        await client.send_slowly(
            b"\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        peer = await here.app.accept()
        assert (await peer.message()).body == b"abc"
        await peer.send_slowly(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n"
        )
        response = await client.message()
        assert (response.body, response.trailers) == (b"abc", [(b"A", b"b")])


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n", b"\r\n" * 100])
async def test_blank_lines_before_a_request_are_passed_over(blank: bytes) -> None:
    async with setting() as here:
        here.serve()
        client = await here.client()
        for _ in range(2):
            assert (await client.ask(blank + GET)).status == 200


async def test_close_from_the_client_is_honoured() -> None:
    async with setting() as here:
        here.serve()
        client = await here.client()
        response = await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (response.status, response[b"connection"]) == (200, b"close")
        assert await client.rest() == b""


async def test_close_from_the_app_is_its_own_affair() -> None:
    async with setting() as here:
        client = await here.client()
        for _ in range(3):
            await client.send(GET)
            peer, _ = await here.app.answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            peer.close()
            response = await client.message()
            assert (response.body, b"connection" in response) == (b"ok", False)


async def test_an_answer_without_a_date_gets_one() -> None:
    async with setting() as here:
        client = await here.client()
        for line in (b"200 OK", b"304 Not Modified"):
            await client.send(GET)
            peer, _ = await here.app.answer(b"HTTP/1.1 " + line + b"\r\nContent-Length: 0\r\n\r\n")
            peer.close()
            date = parsedate_to_datetime((await client.message(bodiless=True))[b"date"].decode())
            assert abs(date - datetime.now(UTC)) < timedelta(minutes=1)


# --- responses without a body -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"])
@pytest.mark.parametrize("body", [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"])
async def test_head_ends_with_the_head(framing: bytes, body: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer, _ = await here.app.answer(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + body)
        response = await client.message(bodiless=True)
        assert [field for field in response.fields if field[0] != b"Date"] == [tuple(framing.split(b": "))]
        here.serve(peer)
        assert (await client.ask()).body == b"ok"


@pytest.mark.parametrize("line", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
@pytest.mark.parametrize("body", [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n"])
async def test_204_and_304_have_no_body(line: bytes, framing: bytes, body: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(GET)
        peer, _ = await here.app.answer(b"HTTP/1.1 " + line + b"\r\n" + framing + b"\r\n")
        response = await client.message(bodiless=True)
        assert response.line == b"HTTP/1.1 " + line
        assert b"transfer-encoding" not in response
        await peer.send(body)  # late, as from an app that does not know better
        here.serve(peer)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (await client.ask()).body == b"ok"


# --- HTTP/1.0 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response",
    [
        OK,
        CHUNKED_OK,
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ],
)
@pytest.mark.parametrize("request_data", [GET, OLD_GET])
async def test_every_framing_reaches_every_client_in_one_that_it_knows(response: bytes, request_data: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(request_data)
        peer, _ = await here.app.answer(response)
        peer.close()
        received = await client.message()
        assert (received.status, received.body) == (200, b"ok")
        if request_data is OLD_GET:
            assert b"transfer-encoding" not in received
            assert received[b"connection"] == b"close"
            assert await client.rest() == b""
        else:
            assert (b"content-length" in received) != (b"transfer-encoding" in received)
            here.serve()
            assert (await client.ask()).body == b"ok"


async def test_http_1_0_can_keep_its_connection_if_the_length_is_known() -> None:
    async with setting() as here:
        here.serve()
        client = await here.client()
        for _ in range(2):
            response = await client.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert (response.body, response[b"connection"]) == (b"ok", b"keep-alive")


async def test_a_response_of_unknown_length_ends_the_connection_of_http_1_0() -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        await here.app.answer(CHUNKED_OK)
        response = await client.message()
        assert (response.body, response[b"connection"]) == (b"ok", b"close")


# --- interim responses ------------------------------------------------------------------------------------------------


async def test_interim_responses_pass_at_once_and_the_final_one_after_them() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        for status in (102, 103, 103):
            await peer.send(b"HTTP/1.1 %d Early\r\nLink: </a>\r\n\r\n" % status)
            interim = await client.head()
            assert (interim.status, interim.fields) == (status, [(b"Link", b"</a>")])
        await peer.send(b"HTTP/1.1 103 Early\r\n\r\n" + OK)
        assert (await client.head()).status == 103
        assert (await client.message()).body == b"ok"


async def test_http_1_0_gets_no_interim_response() -> None:
    async with setting() as here:
        client, peer = await here.pair(OLD_GET)
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\n" + OK)
        assert (await client.message()).status == 200


async def test_continue_comes_from_the_app_before_the_body_is_sent() -> None:
    async with setting() as here:
        client, peer = await here.pair(
            b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await client.head()).status == 100
        await client.send(b"hello")
        assert await peer.take(5) == b"hello"
        await peer.send(OK)
        assert (await client.message()).body == b"ok"


@pytest.mark.parametrize("status", [417, 401])
@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
async def test_a_final_answer_instead_of_continue_spares_the_body(status: int, framing: bytes) -> None:
    async with setting() as here:
        client, peer = await here.pair(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + framing + b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
        response = await client.message()
        assert (response.status, response.body, response[b"connection"]) == (status, b"no", b"close")
        assert await peer.ended()
        assert await client.rest() == b""


# --- bodies of requests -----------------------------------------------------------------------------------------------


async def test_get_with_a_body_and_post_without_one_keep_their_framing() -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        _, request = await here.app.answer()
        assert (request[b"content-length"], request.body) == (b"5", b"hello")
        await client.message()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n")
        _, request = await here.app.answer()
        assert (b"content-length" in request, b"transfer-encoding" in request) == (False, False)
        assert (await client.message()).body == b"ok"


async def test_extensions_of_a_request_are_dropped_and_trailers_pass_except_those_that_frame_or_route() -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"5;a=b\r\nhello\r\n0;c\r\n"
            b"X-Sum: 1\r\nContent-Length: 9\r\nX-Forwarded-For: 192.0.2.1\r\nX.Real.IP: b\r\n\r\n"
        )
        peer, request = await here.app.answer()
        assert (request.body, request.trailers) == (b"hello", [(b"X-Sum", b"1")])
        assert request[b"trailer"] == b"X-Sum"
        assert not {b"x-sum", b"content-length"} & {name.lower() for name, _ in request.fields}
        here.serve(peer)
        assert (await client.message()).body == b"ok"
        assert (await client.ask()).body == b"ok"


async def test_a_client_that_takes_trailers_is_known_to_the_app() -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        peer, request = await here.app.answer(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Grpc-Status\r\n\r\n0\r\nGrpc-Status: 0\r\n\r\n"
        )
        assert (request[b"te"], request[b"connection"]) == (b"trailers", b"TE")
        assert (await client.message()).trailers == [(b"Grpc-Status", b"0")]
        here.serve(peer)
        assert (await client.ask()).body == b"ok"
        assert here.app.accepted == 1


async def test_trailers_of_a_response_pass_except_those_that_frame_or_route() -> None:
    async with setting() as here:
        here.nursery.start_soon(
            here.app.serve,
            lambda _: (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n"
                b"2\r\nok\r\n0\r\nDigest: abc\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
            ),
        )
        client = await here.client()
        for _ in range(2):
            response = await client.ask()
            assert (response.body, response.trailers, response[b"trailer"]) == (b"ok", [(b"Digest", b"abc")], b"Digest")
        old = await client.ask(OLD_GET)
        assert (old.body, b"trailer" in old) == (b"ok", True)


# --- the client's end -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_data", [GET, POST])
async def test_a_client_that_sends_no_more_still_gets_its_answer(request_data: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(request_data)
        await client.fin()
        peer = await here.app.accept()
        await peer.message()
        await trio.sleep(0.3)
        await peer.send(OK)
        assert (await client.message()).body == b"ok"
        assert await client.rest() == b""


async def test_pipelined_requests_before_a_fin_are_all_answered() -> None:
    async with setting() as here:
        here.nursery.start_soon(here.app.serve, echo)
        client = await here.client()
        await client.send(POST * 3)
        await client.fin()
        assert [(await client.message()).body for _ in range(3)] == [b"/post hello"] * 3
        assert await client.rest() == b""


async def test_a_stream_ends_when_the_app_is_silent_for_a_second_after_a_clients_fin() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await client.until(b"data: 1")
        await client.fin()
        for _ in range(3):
            assert not await peer_ended_within(peer, 0.6)
            await peer.send(b"data: 2\n\n")
        assert await peer_ended_within(peer, 3)


@pytest.mark.parametrize("request_data", [GET, POST])
async def test_the_app_is_left_when_a_client_is_gone_for_a_second(request_data: bytes) -> None:
    async with setting() as here:
        client, peer = await here.pair(request_data)
        peer.buffer = b""
        client.close()
        assert not await peer_ended_within(peer, 0.5)
        assert await peer_ended_within(peer, 2)


async def peer_ended_within(peer: Peer, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        return await peer.ended()
    return False


@pytest.mark.parametrize("request_data", [GET, POST])
async def test_a_reset_of_the_client_reaches_the_app_at_once(request_data: bytes) -> None:
    async with setting() as here:
        client, peer = await here.pair(request_data)
        peer.buffer = b""
        client.reset()
        assert await peer_ended_within(peer, 0.7)


async def test_a_client_that_leaves_in_the_middle_of_an_upload_leaves_the_app_an_unfinished_one() -> None:
    async with setting() as here:
        for framing, part in ((b"Content-Length: 10", b"hello"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n")):
            client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n" + part)
            client.close()
            assert await peer.rest() == part


async def test_a_client_that_leaves_a_download_stops_the_app() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 100_000)
        await client.head()
        client.close()
        with pytest.raises(OSError, match=r"."):  # noqa: PT012 - it takes a few until the reset is here
            while True:
                await peer.send(b"x" * 65536)


async def test_clients_that_come_and_go_without_a_word_do_no_harm() -> None:
    async with setting() as here:
        for _ in range(20):
            (await here.client()).close()
            (await here.client()).reset()
        half = await here.client()
        await half.send(b"GET / HT")
        half.close()
        here.serve()
        assert (await (await here.client()).ask()).status == 200
        await eventually(lambda: len(here.context.clients.served) == 1)


# --- what a stranger claims -------------------------------------------------------------------------------------------

FORGED = [
    *(b"X-Forwarded-For", b"x-forwarded-for", b"X_Forwarded_For", b"X.Forwarded.For", b"X-Forwarded-User"),
    *(b"X.Forwarded.User", b"Forwarded", b"X-Real-IP", b"X.Real.IP", b"X_Real_IP", b"Client-IP", b"Client.IP"),
    *(b"X-Request-ID", b"X-Request-Start", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"X~Forwarded~For"),
]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("connection", [b"close", b"X-Forwarded-For, X-Forwarded-Host, Host, X-Request-ID"])
async def test_no_spelling_of_a_strangers_claim_reaches_the_app(connection: bytes, times: int) -> None:
    async with setting(trust=[]) as here:
        client = await here.client()
        claims = b"".join(name + b": forged\r\n" for name in FORGED * times)
        await client.send(GET[:-2] + claims + b"Connection: " + connection + b"\r\n\r\n")
        _, request = await here.app.answer()
        assert b"forged" not in b"".join(value for _, value in request.fields)
        assert request[b"x-forwarded-for"] == b"127.0.0.1"
        assert (request[b"host"], request[b"x-forwarded-host"]) == (b"a", b"a")
        assert (await client.message()).body == b"ok"


# --- without a server -------------------------------------------------------------------------------------------------


async def test_an_exchange_needs_only_a_client_and_a_context() -> None:
    async with alone() as parts, trio.open_nursery() as nursery:
        exchange, results = Exchange(parts.client, head(), parts.context), list[bool]()

        @nursery.start_soon
        async def run() -> None:
            results.append(await exchange.run())

        app = await parts.accept()
        assert (await app.head()).line == b"GET / HTTP/1.1"
        assert parts.client.exchange is exchange
        await app.send(OK)
        assert (await parts.far.message()).body == b"ok"
        await trio.testing.wait_all_tasks_blocked()
        assert (results, exchange.status, exchange.sent_bytes, exchange.seems_complete) == ([True], 200, 2, False)
        assert not parts.generation.holders
        app.close()


@pytest.mark.parametrize(("begin", "failure"), [(b"", Refusal), (b"HTTP/1.1 200 OK\r\n\r\nhalf", AppBroke)])
async def test_a_cut_exchange_raises_what_the_client_may_still_receive(begin: bytes, failure: type[Exception]) -> None:
    async with alone() as parts, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def run() -> None:
            with pytest.raises(failure):
                await Exchange(parts.client, head(), parts.context).run()

        app = await parts.accept()
        await app.head()
        await app.send(begin)
        if begin:
            await parts.far.until(b"half")
        parts.client.cut()
        assert await app.ended()
        app.close()
