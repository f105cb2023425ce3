"""One connection: parked until a head is complete, and the limits of that wait."""

from __future__ import annotations

import pytest
import trio

from tests.proxy.scripted import GET, setting


async def test_a_head_that_does_not_arrive_in_time_is_a_408() -> None:
    async with setting(limits={"head_timeout": 0.2}) as here:
        client = await here.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        response = await client.message()
        assert (response.status, response[b"connection"]) == (408, b"close")
        assert await client.rest() == b""
        assert here.app.nothing_waits()


@pytest.mark.parametrize("drip", [b"x", b"\r\n", b"X: y\r\n"])
async def test_dripping_does_not_stretch_the_limit_on_the_head(drip: bytes) -> None:
    async with setting(limits={"head_timeout": 0.3}) as here:
        client = await here.client()
        if drip != b"\r\n":
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " if drip == b"x" else b""))
        for _ in range(100):
            try:
                await client.send(drip)
            except OSError:
                break
            with trio.move_on_after(0.05):
                await client.until(b"HTTP/1.1 408 ")
                break
        else:
            raise AssertionError("nobody minds")


async def test_a_silent_connection_is_closed_without_a_response() -> None:
    async with setting(limits={"head_timeout": 0.2}) as here:
        assert await (await here.client()).rest() == b""


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with setting(limits={"idle_timeout": 0.2, "head_timeout": 5}) as here:
        here.serve()
        client = await here.client()
        assert (await client.ask()).status == 200
        assert await client.rest() == b""


async def test_an_idle_connection_is_kept_beyond_the_limit_on_the_head() -> None:
    async with setting(limits={"idle_timeout": 5, "head_timeout": 0.2}) as here:
        here.serve()
        client = await here.client()
        assert (await client.ask()).status == 200
        await trio.sleep(0.5)
        assert (await client.ask()).status == 200
        await client.send(GET[:5])
        assert (await client.message()).status == 408
