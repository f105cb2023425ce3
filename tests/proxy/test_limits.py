"""Time limits, counts and sizes."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.proxy import acceptor
from tests.proxy.scripted import GET, eventually, setting

if TYPE_CHECKING:
    import socket

    from tests.proxy.conftest import Line


async def test_a_head_that_does_not_arrive_in_time_is_a_408() -> None:
    async with setting(limits={"head_timeout": 0.2}) as here:
        client = await here.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        response = await client.message()
        assert (response.status, response[b"connection"]) == (408, b"close")
        assert await client.rest() == b""
        assert here.app.nothing_waits()


async def test_a_limit_longer_than_a_socket_option_holds_is_no_error() -> None:
    async with setting(limits={"idle_timeout": 1e9}) as here:
        client = await here.client()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.app.answer)
            assert (await client.ask()).status == 200


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


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
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


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe"])
async def test_a_body_that_stops_arriving_is_a_408(framing: bytes) -> None:
    async with setting(limits={"body_timeout": 0.2}) as here:
        client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing)
        response = await client.message()
        assert (response.status, response[b"connection"]) == (408, b"close")
        assert not (await peer.rest()).endswith(b"0\r\n\r\n")


async def test_a_body_that_goes_on_arriving_may_take_long() -> None:
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


async def test_a_chunked_body_is_refused_where_it_passes_the_limit() -> None:
    async with setting(limits={"body_bytes": 10}) as here:
        client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"a\r\n0123456789\r\n")
        await peer.until(b"0123456789\r\n")
        await client.send(b"1\r\nx\r\n0\r\n\r\n")
        assert (await client.message()).status == 413
        assert await peer.rest() == b""


async def test_the_limit_on_connections_answers_503() -> None:
    async with setting(limits={"connections": 2}) as here:
        here.serve()
        first, second = await here.client(), await here.client()
        assert (await first.ask()).status == 200
        assert (await second.ask()).status == 200
        for _ in range(5):
            third = await here.client()
            response = await third.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            assert (response.status, response[b"connection"]) == (503, b"close")
            assert int(response[b"retry-after"]) > 0
            assert await third.rest() == b""
        first.close()
        await eventually(lambda: len(here.context.clients.served) < 2)
        assert (await (await here.client()).ask()).status == 200


async def test_a_crowd_beyond_the_limit_neither_stalls_accept_nor_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "_REJECTED_MAX", 5)
    async with setting(limits={"connections": 1}) as here:
        here.serve()
        first = await here.client()
        assert (await first.ask()).status == 200
        statuses: list[int] = []

        async def come() -> None:
            with contextlib.suppress(OSError):  # as the rest of the crowd gets no answer
                client = await here.client()
                statuses.append((await client.message()).status)

        async with trio.open_nursery() as crowd:
            for _ in range(20):
                crowd.start_soon(come)
        assert set(statuses) == {503}
        assert 5 <= len(statuses) < 20
        assert (await first.ask()).status == 200


class Exhausted:
    """A listening socket that has no descriptor for a connection, for some tries."""

    def __init__(self, sock: socket.socket, tries: int) -> None:
        self.sock = sock
        self.tries = tries
        self.accepts = 0

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.accepts += 1
        if self.accepts <= self.tries:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.sock.accept()

    def fileno(self) -> int:
        return self.sock.fileno()


async def test_running_out_of_descriptors_neither_spins_nor_kills(lines: list[Line]) -> None:
    async with setting() as here:
        here.serve()
        exhausted = Exhausted(here.listener.sock, 3)
        here.listener.sock = exhausted  # type: ignore[assignment]
        client = await here.client()  # the wait on the real one ends with this
        assert (await client.ask()).status == 200
        second = await here.client()
        assert (await second.ask()).status == 200
        assert 4 <= exhausted.accepts < 10
        here.listener.sock = exhausted.sock
    assert [event for _, event, _ in lines] == ["cannot accept connections"]


async def test_an_aborted_connection_in_the_queue_is_passed_over() -> None:
    async with setting() as here:
        here.serve()
        for _ in range(50):
            (await here.client()).reset()
        assert (await (await here.client()).ask()).status == 200


async def test_no_descriptor_for_the_app_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    async with setting() as here:
        client = await here.client()
        with monkeypatch.context() as patched:
            patched.setattr(here.context.pool, "open", out_of_descriptors)
            assert (await client.ask()).status == 503
        here.serve()
        assert (await client.ask()).status == 200


def out_of_descriptors(_: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")
