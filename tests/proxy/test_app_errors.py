"""What counts as an error of the app, and what does not."""

from __future__ import annotations

import pytest
import trio

from rainbowd.proxy.app_errors import PATH_CHARACTERS
from rainbowd.roster import State
from tests.proxy.scripted import GET, OK, Setting, eventually, setting

FAILED = b"HTTP/1.1 %d Failed\r\nContent-Length: 2\r\n\r\nno"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"


def watch(here: Setting) -> list[str]:
    failed: list[str] = []
    here.generation.on_error = failed.append
    return failed


@pytest.mark.parametrize(("status", "is_error"), [(200, 0), (404, 0), (499, 0), (500, 1), (503, 1), (599, 1), (600, 1)])
async def test_a_status_of_500_or_more_is_an_error(status: int, is_error: int) -> None:
    async with setting() as here:
        failed = watch(here)
        here.nursery.start_soon(here.app.serve, lambda _: FAILED % status)
        client = await here.client()
        assert (await client.ask()).status == status
        await eventually(lambda: here.generation.requests == 1 and not here.generation.holders)
        assert here.generation.errors == is_error
        assert failed == [f"GET /: {status}"] * is_error


@pytest.mark.parametrize(("answer", "described"), [(b"", "GET /a: 502"), (CUT, "GET /a: 200")])
async def test_an_answer_that_the_app_breaks_off_is_an_error(answer: bytes, described: str) -> None:
    described = described.replace("200", "broken off")
    async with setting() as here:
        failed = watch(here)
        _, app = await here.pair(b"GET /a?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        await app.send(answer)
        app.close()
        await eventually(lambda: bool(failed))
        assert (failed, here.generation.errors) == ([described], 1)


async def test_an_answer_that_does_not_begin_in_time_is_an_error() -> None:
    async with setting(limits={"response_timeout": 0.05}) as here:
        failed = watch(here)
        client, _ = await here.pair()
        assert (await client.message()).status == 504
        await eventually(lambda: failed == ["GET /: 504"])


async def test_a_refused_connection_is_one_error_however_often_it_is_tried() -> None:
    async with setting() as here:
        failed = watch(here)
        here.roster.hold_while(lambda: True)
        here.app.close()
        client = await here.client()
        await client.send(GET)
        await trio.sleep(0.2)
        here.replace_app()
        await here.app.listen()
        here.serve()
        assert (await client.message()).status == 200
        assert failed == ["connection refused"]


async def test_a_client_that_leaves_is_no_error_of_the_app() -> None:
    async with setting() as here:
        client, _ = await here.pair()
        client.reset()
        await eventually(lambda: not here.generation.holders)
        client, app = await here.pair()
        await app.send(CUT)
        await client.head()
        client.reset()
        await eventually(lambda: not here.generation.holders)
        assert here.generation.errors == 0


async def test_answers_of_rainbowd_itself_are_no_errors_of_the_app() -> None:
    async with setting(limits={"body_bytes": 1}) as here:
        too_large = await (await here.client()).ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert too_large.status == 413
        assert (await (await here.client()).ask(b"GET / HTTP/1.1\r\n\r\n")).status == 400
        here.roster.advance(here.generation, State.STOPPING)
        assert (await (await here.client()).ask()).status == 503
        assert here.generation.errors == 0


async def test_a_described_path_has_no_query_and_a_limited_length() -> None:
    async with setting() as here:
        failed = watch(here)
        here.nursery.start_soon(here.app.serve, lambda _: FAILED % 500)
        client = await here.client()
        await client.ask(b"GET /%b?q=1 HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 200))
        await eventually(lambda: bool(failed))
        assert failed == [f"GET /{'x' * (PATH_CHARACTERS - 1)}: 500"]


async def test_a_healthy_answer_calls_nobody() -> None:
    async with setting() as here:
        failed = watch(here)
        here.nursery.start_soon(here.app.serve, lambda _: OK)
        assert (await (await here.client()).ask()).status == 200
        assert failed == []
