"""What is answered, and what is cut visibly, where a client or the app does wrong."""

from __future__ import annotations

import random
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.proxy import claim
from tests.proxy.scripted import GET, Setting, setting

if TYPE_CHECKING:
    from types import ModuleType

    from tests.proxy.conftest import Line

CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def answer_to(here: Setting, request: bytes) -> int:
    """The status of the one answer to ``request``, behind which the connection is closed."""
    client = await here.client()
    await client.send(request)
    response = await client.message()
    assert response[b"connection"] == b"close"
    assert response[b"content-type"] == b"text/plain; charset=utf-8"
    assert response.body.startswith(b"%d " % response.status)
    assert await client.rest() == b""
    return response.status


# --- the client does wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET http://other/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x7f" * 500, 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 2000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (10 << 20), 431),
    ],
)
async def test_a_bad_request_is_answered_and_never_reaches_the_app(request_data: bytes, status: int) -> None:
    async with setting() as here:
        assert await answer_to(here, request_data) == status
        assert here.app.nothing_waits()
        here.serve()
        assert (await (await here.client()).ask()).status == 200


async def test_a_bad_request_after_a_good_one_is_refused_in_its_turn() -> None:
    async with setting() as here:
        here.serve()
        client = await here.client()
        await client.send(GET + b"GET / HTTP/1.1\r\n\r\n" + GET)
        assert (await client.message()).status == 200
        assert (await client.message()).status == 400
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "size", [b"5 5", b"0x5", b"+5", b"-5", b"12345678901234567", b"5 ", b"zz", b"5;" + b"x" * 1_000_000]
)
@pytest.mark.parametrize("late", [True, False])
async def test_a_malformed_upload_is_the_clients_fault(size: bytes, late: bool) -> None:
    async with setting() as here:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
        client = await here.client()
        await client.send(head if late else head + size + b"\r\n")
        peer = await here.app.accept()
        if late:
            await peer.until(b"ok\r\n")
            with trio.move_on_after(5):
                await client.send(size + b"\r\n")
        response = await client.message()
        assert (response.status, response[b"connection"]) == (400, b"close")
        assert not (await peer.rest()).endswith(b"0\r\n\r\n")


async def test_random_bytes_from_clients_do_no_harm() -> None:
    dice = random.Random(5)
    async with setting() as here:
        here.serve()
        for _ in range(50):
            client = await here.client()
            await client.send(dice.randbytes(dice.randint(1, 300)))
            await client.fin()
            try:
                answer = await client.rest()
            except OSError:
                continue
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert (await (await here.client()).ask()).status == 200


# --- the app does wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"garbage\r\n\r\n",
        b"\x00\x01\x02",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n Set-Cookie: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\n\x00",
    ],
)
@pytest.mark.parametrize("reset", [True, False])
async def test_an_answer_that_cannot_be_used_is_a_502(response: bytes, reset: bool) -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(response)
        if reset and len(response) < 100:
            peer.reset()
        else:
            peer.close()
        if response.startswith(b"HTTP/1.1 103"):
            assert (await client.head()).status == 103
        assert (await client.message()).status == 502
        here.serve()
        assert (await client.ask()).body == b"ok"


async def test_garbage_from_an_app_that_stays_connected_is_a_502_at_once() -> None:
    async with setting() as here:
        for garbage in (b"garbage", b"HTTP/1.1 abc\r\n", b"<html>\n"):
            client, peer = await here.pair()
            await peer.send(garbage)
            assert (await client.message()).status == 502
            assert await peer.ended()


async def test_a_502_to_head_has_no_body() -> None:
    async with setting() as here:
        client, peer = await here.pair(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer.close()
        assert (await client.message(bodiless=True)).status == 502
        here.serve()
        assert (await client.ask()).body == b"ok"


@pytest.mark.parametrize("reset", [True, False])
async def test_a_sized_body_that_is_cut_is_seen_to_be_short(reset: bool) -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
        assert (await client.head())[b"content-length"] == b"10"
        assert await client.take(5) == b"short"
        if reset:
            peer.reset()
        else:
            peer.close()
        assert await client.ended()


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    "rest", [b"", b"5\r\nsho", b"5\r\nshort", b"5\r\nshort\r\n", b"5\r\nshort\r\n0\r\n", b"zz\r\n"]
)
async def test_a_chunked_body_that_is_cut_never_ends_in_the_last_chunk(rest: bytes, reset: bool) -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(CHUNKED_OK + b"2\r\nok\r\n")
        await client.head()
        assert await client.take(7) == b"2\r\nok\r\n"
        await peer.send(rest)
        if reset:
            peer.reset()
        else:
            peer.close()
        assert not (await client.rest()).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("request_data", "mark"), [(GET, b"2\r\nok\r\n"), (b"GET / HTTP/1.0\r\n\r\n", b"ok")])
async def test_a_reset_is_passed_on_if_only_the_end_of_the_connection_ends_the_body(
    request_data: bytes, mark: bytes
) -> None:
    async with setting() as here:
        client, peer = await here.pair(request_data)
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nok")
        await client.head()
        assert await client.take(len(mark)) == mark
        peer.reset()
        if request_data is GET:
            assert await client.rest() == b""
        else:
            with pytest.raises(ConnectionResetError):
                await client.rest()


async def test_random_bytes_from_the_app_do_no_harm() -> None:
    dice = random.Random(6)
    async with setting() as here:
        for _ in range(50):
            client, peer = await here.pair()
            await peer.send(
                dice.choice((b"", b"HTTP/1.1 200 OK\r\n", CHUNKED_OK)) + dice.randbytes(dice.randint(1, 300))
            )
            peer.close()
            try:
                answer = (await client.head()).line
            except (OSError, EOFError, ValueError):
                continue
            assert answer.startswith(b"HTTP/1.1 ")
        here.serve()
        assert (await (await here.client()).ask()).status == 200


async def test_an_app_that_nobody_manages_and_that_refuses_is_a_502_at_once_until_it_is_back() -> None:
    async with setting(managed=False) as here:
        address = here.generation.address
        here.app.close()
        client = await here.client()
        assert (await client.ask()).status == 502
        assert (await client.ask()).status == 502
        await here.launch(address)
        here.serve()
        assert (await client.ask()).status == 200


async def test_an_app_that_is_silent_is_a_504() -> None:
    async with setting(limits={"response_timeout": 0.2}) as here:
        client, peer = await here.pair()
        assert (await client.message()).status == 504
        assert await peer.ended()


async def test_an_app_that_sends_only_half_a_head_is_a_504() -> None:
    async with setting(limits={"response_timeout": 0.2}) as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
        assert (await client.message()).status == 504


async def test_an_app_can_take_any_time_after_its_head() -> None:
    async with setting(limits={"response_timeout": 0.1}) as here:
        client, peer = await here.pair()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await trio.sleep(0.5)
        await peer.send(b"ok")
        assert (await client.message()).body == b"ok"


# --- what is logged ---------------------------------------------------------------------------------------------------


async def test_a_bug_in_one_request_ends_neither_the_server_nor_another(
    monkeypatch: pytest.MonkeyPatch, lines: list[Line]
) -> None:
    async with setting() as here:
        here.serve()
        other = await here.client()
        assert (await other.ask()).body == b"ok"
        with monkeypatch.context() as patched:
            patched.setattr(here.roster, "lease", lambda _: 1 // 0)
            client = await here.client()
            await client.send(GET)
            assert (await client.message()).status == 500
        assert (await other.ask()).body == b"ok"
    (line,) = [line for line in lines if line[0] == "error"]
    bug = line[2]["exc_info"]
    assert isinstance(bug, ZeroDivisionError)
    names_the_place(bug, claim, "take_pooled", "= self._context.roster.lease(")
    lines.clear()


def names_the_place(bug: Exception, module: ModuleType, function: str, code: str) -> None:
    """The logged traceback has an entry with the file, the line and the function, also of compiled code."""
    source = Path(str(module.__file__)).parent / f"{module.__name__.rpartition('.')[2]}.py"
    (number,) = [number for number, text in enumerate(source.read_text().splitlines(), 1) if code in text]
    entry = rf'File ".*{module.__name__.replace(".", "/")}\.py", line (\d+), in {function}\n'
    assert int(re.findall(entry, "".join(traceback.format_exception(bug)))[-1]) == number
