"""The API on a real socket: what clients may do to it, and what they may not."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.api import guard, server
from rainbowd.api.server import CONNECTIONS_MAX, serve
from rainbowd.api.service import ApiService
from rainbowd.api.token import Token
from tests.api.conftest import TOKEN, FakeAgent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

HEAD = f"Host: api\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
GET = b"GET /status HTTP/1.1\r\n" + HEAD + b"\r\n"
PATIENCE_SECONDS = 60


class Setting:
    """An API that is served."""

    def __init__(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        self.sock = sock
        self.stop = trio.Event()
        self.ended = trio.Event()
        self.nursery = nursery

    async def client(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self.sock.getsockname())

    async def serve(self, app: ASGIApp) -> None:
        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            await serve(self.sock, app, self.stop, task_status=task_status)
            self.ended.set()

        await self.nursery.start(run)


@contextlib.asynccontextmanager
async def setting(app: ASGIApp) -> AsyncIterator[Setting]:
    with socket.create_server(("127.0.0.1", 0)) as sock, trio.fail_after(PATIENCE_SECONDS):
        sock.setblocking(False)
        async with trio.open_nursery() as nursery:
            here = Setting(sock, nursery)
            await here.serve(app)
            yield here
            here.stop.set()


async def rest(stream: trio.SocketStream) -> bytes:
    """All that comes until the end."""
    return b"".join([bytes(data) async for data in stream])


async def until_closed(stream: trio.SocketStream) -> None:
    """Wait until the API has closed a connection: reset it, if there is something that it has not read."""
    with contextlib.suppress(trio.BrokenResourceError):
        await rest(stream)


async def answer(stream: trio.SocketStream) -> bytes:
    """The next answer, which has a length; none may follow."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            if len(body) >= length:
                assert len(body) == length
                return data
        more = await stream.receive_some()
        assert more, f"the connection ended behind {data!r}"
        data += more


async def test_a_connection_serves_one_call_after_the_other(agent: FakeAgent) -> None:
    async with setting(agent.app()) as here, await here.client() as client:
        for _ in range(3):
            await client.send_all(GET)
            assert (await answer(client)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("request_data", "status"),
    [
        (b"\0garbage\r\n\r\n", b"400"),
        (b"GET /status HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /status HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
    ],
)
async def test_bytes_that_are_not_http_get_400_and_a_close(
    agent: FakeAgent, request_data: bytes, status: bytes
) -> None:
    async with setting(agent.app()) as here, await here.client() as client:
        await client.send_all(request_data)
        assert (await rest(client)).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(
    "field", [b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n", b""]
)
async def test_there_is_no_http_2(agent: FakeAgent, field: bytes) -> None:
    line = b"GET /status HTTP/1.1\r\n" if field else b"PRI * HTTP/2.0\r\n"
    async with setting(agent.app()) as here, await here.client() as client:
        await client.send_all(line + HEAD + field + b"\r\n")
        told = await answer(client)
        assert told.startswith(b"HTTP/1.1 200 " if field else b"HTTP/1.1 404 ")


@pytest.mark.parametrize("token", [b"", HEAD.partition(b"\r\n")[2]])
async def test_who_sends_too_much_gets_to_read_why(agent: FakeAgent, token: bytes) -> None:
    async with setting(agent.app()) as here, await here.client() as client:
        await client.send_all(b"POST /redeploy HTTP/1.1\r\nHost: x\r\n" + token + b"Content-Length: 1000000000\r\n\r\n")

        async def send() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                while True:
                    await client.send_all(bytes(1 << 16))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with contextlib.suppress(trio.BrokenResourceError):
                told = await client.receive_some()
                assert told.startswith(b"HTTP/1.1 413 " if token else b"HTTP/1.1 401 ")
            nursery.cancel_scope.cancel()
    assert agent.asked == []


async def test_a_head_that_does_not_come_is_not_waited_for(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.05)
    async with setting(agent.app()) as here, await here.client() as silent, await here.client() as slow:
        with contextlib.suppress(trio.BrokenResourceError):  # the time is up before the line is sent
            await slow.send_all(b"GET /status HTTP/1.1\r\n")
        assert await rest(silent) == b""
        await until_closed(slow)


async def test_who_does_not_read_is_cut_and_his_other_calls_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SEND_SECONDS", 0.1)
    calls, gone = 0, trio.Event()

    async def endless(scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        finally:
            gone.set()

    async with setting(endless) as here, await here.client() as client:
        await client.send_all(GET * 5)
        await gone.wait()
        here.stop.set()
        await here.ended.wait()
        assert calls == 1


async def are_open(streams: list[trio.SocketStream]) -> list[bool]:
    """Which of these connections the API has left open."""
    found = []
    for stream in streams:
        with trio.move_on_after(0.05) as waiting, contextlib.suppress(trio.BrokenResourceError):
            await stream.receive_some()
        found.append(waiting.cancelled_caught)
    return found


SILENT = b""
HALF_A_HEAD = b"GET /status HTTP/1.1\r\nHost: a"
STRANGERS_CALL = b"POST /redeploy HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("sent", [SILENT, HALF_A_HEAD])
async def test_of_connections_without_a_call_only_the_oldest_makes_way_for_a_client(
    agent: FakeAgent, sent: bytes
) -> None:
    async with setting(agent.app()) as here, contextlib.AsyncExitStack() as all_of_them:
        silent = [await all_of_them.enter_async_context(await here.client()) for _ in range(CONNECTIONS_MAX)]
        for stream in silent:
            await stream.send_all(sent)
        async with await here.client() as client:
            await client.send_all(GET)
            assert (await answer(client)).startswith(b"HTTP/1.1 200 ")
            await until_closed(silent[0])
            assert await are_open(silent[1:3]) == [True, True]


async def test_calls_without_the_token_make_way_for_a_call_with_it(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PACE_SECONDS", PATIENCE_SECONDS)
    async with setting(agent.app()) as here, contextlib.AsyncExitStack() as all_of_them:
        async with await here.client() as first:
            await first.send_all(STRANGERS_CALL)
            assert (await rest(first)).startswith(b"HTTP/1.1 401 ")
        strangers = [await all_of_them.enter_async_context(await here.client()) for _ in range(CONNECTIONS_MAX)]
        for stranger in strangers:
            await stranger.send_all(STRANGERS_CALL)
        async with await here.client() as client:
            await client.send_all(GET)
            assert (await answer(client)).startswith(b"HTTP/1.1 200 ")
            await until_closed(strangers[0])
            assert await are_open(strangers[1:3]) == [True, True]
    assert agent.asked == []


async def test_a_call_with_the_token_keeps_its_place_and_the_next_client_waits_for_it(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 3)
    async with setting(agent.app()) as here, contextlib.AsyncExitStack() as all_of_them:
        callers = [await all_of_them.enter_async_context(await here.client()) for _ in range(3)]
        for caller in callers:
            await caller.send_all(b"POST /redeploy?wait=1 HTTP/1.1\r\nContent-Length: 0\r\n" + HEAD + b"\r\n")
        while len(agent.asked) < 3:  # noqa: ASYNC110 - a fake tells nobody
            await trio.sleep(0.001)
        async with await here.client() as late:
            await late.send_all(GET)
            assert await are_open([*callers, late]) == [True] * 4
            agent.deploy.decide()
            assert (await answer(late)).startswith(b"HTTP/1.1 200 ")
            for caller in callers:
                assert (await answer(caller)).startswith(b"HTTP/1.1 200 ")
    assert CONNECTIONS_MAX <= 100


async def test_a_bug_in_one_connection_does_not_end_the_others(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_args: object) -> None:
        raise ZeroDivisionError

    async with setting(agent.app()) as here, await here.client() as other:
        await other.send_all(GET)
        await answer(other)
        with monkeypatch.context() as patch:
            patch.setattr(server.Http1Only, "_create_stream", broken)
            async with await here.client() as client:
                await client.send_all(GET)
                assert await rest(client) == b""
        await other.send_all(GET)
        assert (await answer(other)).startswith(b"HTTP/1.1 200 ")


async def test_a_stop_lets_calls_under_way_be_answered_and_leaves_the_socket_open(agent: FakeAgent) -> None:
    async with setting(agent.app()) as here, await here.client() as waiting, await here.client() as idle:
        await idle.send_all(GET)
        await answer(idle)
        await waiting.send_all(b"POST /redeploy?wait=1 HTTP/1.1\r\nContent-Length: 0\r\n" + HEAD + b"\r\n")
        while not agent.asked:  # noqa: ASYNC110 - a fake tells nobody
            await trio.sleep(0.001)
        here.stop.set()
        assert await rest(idle) == b""
        agent.deploy.decide()
        assert (await rest(waiting)).startswith(b"HTTP/1.1 200 ")
        await here.ended.wait()
        async with await here.client() as next_agents:
            here.stop = trio.Event()
            await here.serve(agent.app())
            await next_agents.send_all(GET)
            assert (await answer(next_agents)).startswith(b"HTTP/1.1 200 ")


async def test_an_api_that_breaks_is_served_again(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainbowd.api.service.RESTART_SECONDS", 0.01)
    times = 0

    async def breaking(*args: object) -> None:
        nonlocal times
        times += 1
        if times < 3:
            raise ZeroDivisionError
        agent.stop.set()

    monkeypatch.setattr("rainbowd.api.service.serve", breaking)
    begin = trio.Event()
    begin.set()
    with socket.socket() as sock:
        await ApiService(sock, "here", Token(TOKEN.encode())).run(agent.controls(), begin, agent.stop)
    assert times == 3
