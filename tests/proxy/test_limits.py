"""Time limits, counts and sizes."""

from __future__ import annotations

import errno

import pytest
import trio

from tests.proxy.scripted import GET, setting


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe"])
async def test_a_body_that_stops_arriving_is_a_408(framing: bytes) -> None:
    async with setting(limits={"body_timeout": 0.2}) as here:
        client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing)
        response = await client.message()
        assert (response.status, response[b"connection"]) == (408, b"close")
        assert not (await peer.rest()).endswith(b"0\r\n\r\n")


async def test_a_body_that_keeps_arriving_can_take_long() -> None:
    async with setting(limits={"body_timeout": 0.3, "response_timeout": 0.3}) as here:
        client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            await trio.sleep(0.1)
            await client.send(b"x")
        assert await peer.take(10) == b"x" * 10
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert (await client.message()).status == 200


async def test_limits_may_be_off() -> None:
    off = ("head_bytes", "headers", "connections", "head_timeout", "idle_timeout", "body_timeout", "response_timeout")
    async with setting(limits=dict.fromkeys(off)) as here:
        here.serve()
        client = await here.client()
        assert (await client.ask(GET[:-2] + b"X: y\r\n" * 500 + b"Y: " + b"y" * 100_000 + b"\r\n\r\n")).status == 200


async def test_a_length_beyond_the_limit_is_refused_before_the_app_hears_of_it() -> None:
    async with setting(limits={"body_bytes": 10}) as here:
        client = await here.client()
        response = await client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")
        assert (response.status, response[b"connection"]) == (413, b"close")
        assert here.app.nothing_waits()
        here.serve()
        assert (
            await (await here.client()).ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n" + b"x" * 10)
        ).status == 200


async def test_a_chunked_body_is_refused_when_it_passes_the_limit() -> None:
    async with setting(limits={"body_bytes": 10}) as here:
        client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"a\r\n0123456789\r\n")
        await peer.until(b"0123456789\r\n")
        await client.send(b"1\r\nx\r\n0\r\n\r\n")
        assert (await client.message()).status == 413
        assert await peer.rest() == b""


async def test_no_descriptor_for_the_app_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    async with setting() as here:
        client = await here.client()
        with monkeypatch.context() as patched:
            patched.setattr("rainbowd.proxy.upstream.family", out_of_descriptors)
            assert (await client.ask()).status == 503
        here.serve()
        assert (await client.ask()).status == 200


def out_of_descriptors(_: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")
