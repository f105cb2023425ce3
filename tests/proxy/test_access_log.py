"""What is logged of an exchange and of a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.proxy.scripted import GET, setting

if TYPE_CHECKING:
    from tests.proxy.conftest import Line

CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_request_is_logged_if_the_access_log_is_on(lines: list[Line]) -> None:
    async with setting(access=True) as here:
        client = await here.client()
        await client.send(b"POST /a?b HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\nContent-Length: 0\r\n\r\n")
        await here.app.answer(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
        await client.message()
        await client.send(b"BAD\r\n\r\n")
        await client.message()
    (level, event, fields), (_, _, refused) = lines
    assert (level, event) == ("info", "request")
    assert float(str(fields.pop("seconds"))) >= 0
    assert fields == {
        "method": "POST",
        "target": "/a?b",
        "status": 201,
        "bytes": 2,
        "generation": 1,
        "request_id": "mine",
        "client": "127.0.0.1",
    }
    assert (refused["status"], refused["client"]) == (400, "127.0.0.1")


async def test_a_client_that_went_away_is_no_error(lines: list[Line]) -> None:
    async with setting() as here:
        client, peer = await here.pair()
        client.reset()
        assert await peer.ended()
    ((level, _, fields),) = lines
    assert (level, fields["status"]) == ("debug", 499)


async def test_nothing_is_logged_of_successful_requests(lines: list[Line]) -> None:
    async with setting() as here:
        here.serve()
        assert (await (await here.client()).ask()).status == 200
    assert lines == []


async def test_an_answer_that_the_app_broke_off_is_a_warning(lines: list[Line]) -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
        peer.close()
        assert (await client.rest()).endswith(b"short")
    ((level, event, fields),) = lines
    assert (level, event) == ("warning", "the app failed a request")
    assert (fields["status"], fields["bytes"]) == (200, 5)


async def test_a_client_that_speaks_another_protocol_is_reported_once_a_minute(lines: list[Line]) -> None:
    async with setting() as here:
        for data, status in (
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + GET, 400),
            (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + GET, 400),
        ):
            client = await here.client()
            assert (await client.ask(data)).status == status
        assert here.app.nothing_waits()
    assert lines == [
        (
            "warning",
            "a client does not speak HTTP",
            {"reason": "This is TLS, but this port accepts plain HTTP only.", "client": "127.0.0.1"},
        )
    ]
