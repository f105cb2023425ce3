"""Connections to the app that are kept, and what is done when one of them turns out dead."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from rainbowd.address import TcpAddress, UnixAddress, connect_to_socket_file
from rainbowd.proxy import upstream
from rainbowd.proxy.reactor import Reactor
from rainbowd.proxy.upstream import Upstream
from rainbowd.proxy.wire import Wire
from rainbowd.roster import Generation, State
from tests.proxy.scripted import GET, OK, Peer, Setting, eventually, setting

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


async def pooled(here: Setting) -> tuple[Peer, Peer]:
    """A client, and the app's idle connection that served it."""
    client = await here.client()
    await client.send(GET)
    peer, _ = await here.app.answer()
    assert (await client.message()).body == b"ok"
    await eventually(lambda: len(here.context.pool) == 1)
    return client, peer


@pytest.mark.parametrize("request_data", [GET, POST])
async def test_an_idle_connection_that_the_app_closed_is_not_used(request_data: bytes) -> None:
    async with setting() as here:
        client, peer = await pooled(here)
        for _ in range(20):
            await peer.fin()
            await client.send(request_data)
            peer, _ = await here.app.answer()
            assert (await client.message()).body == b"ok"


async def test_unrequested_bytes_of_an_app_answer_no_request() -> None:
    async with setting() as here:
        client, peer = await pooled(here)
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await client.send(GET)
        await here.app.answer()
        assert (await client.message()).status == 200
        assert await peer.ended()


@pytest.mark.parametrize("extra", [b"x", OK, b"\r\n"])
async def test_bytes_after_a_response_answer_no_request(extra: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(GET)
        peer, _ = await here.app.answer(OK + extra)
        assert (await client.message()).body == b"ok"
        assert await peer.ended()
        await client.send(GET)
        await here.app.answer()
        assert (await client.message()).body == b"ok"
        assert await_nothing(client)


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)
async def test_no_connection_is_kept_on_which_a_body_may_follow_that_must_not(method: bytes, head: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(GET.replace(b"GET", method))
        peer, _ = await here.app.answer(head)
        await client.message(bodiless=True)
        assert len(here.context.pool) == 0
        assert await peer.ended()


@pytest.mark.parametrize("line", [b"204 No Content", b"304 Not Modified"])
async def test_a_connection_is_kept_after_a_response_without_a_body(line: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(GET)
        peer, _ = await here.app.answer(b"HTTP/1.1 " + line + b"\r\n\r\n")
        await client.message(bodiless=True)
        here.serve(peer)
        assert (await client.ask()).body == b"ok"
        assert here.context.pool.opened == 1


def await_nothing(client: Peer) -> bool:
    return client.buffer == b""


@pytest.mark.parametrize(
    "request_data",
    [
        POST,
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_a_body_that_an_app_took_for_the_next_request_gets_nobody_its_answer(request_data: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(request_data)
        await here.app.answer()
        assert (await client.message()).body == b"ok"
        await client.send(GET)
        await here.app.answer()  # over another connection
        assert (await client.message()).body == b"ok"


@pytest.mark.parametrize("reset", [True, False])
async def test_a_kept_connection_that_dies_on_receipt_is_tried_once_more(reset: bool) -> None:
    async with setting() as here:
        client, peer = await pooled(here)
        await client.send(GET)
        request = await peer.head()
        if reset:
            peer.reset()
        else:
            peer.close()
        _, again = await here.app.answer()
        assert again.fields == request.fields
        assert (await client.message()).body == b"ok"


async def test_once_more_is_once() -> None:
    async with setting() as here:
        client, peer = await pooled(here)
        await client.send(GET)
        await peer.head()
        peer.close()
        fresh = await here.app.accept()
        await fresh.head()
        fresh.close()
        assert (await client.message()).status == 502
        assert here.app.nothing_waits()


@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early\r\n\r\n"])
async def test_a_kept_connection_that_began_to_answer_is_not_tried_again(part: bytes) -> None:
    async with setting() as here:
        client, peer = await pooled(here)
        await client.send(GET)
        await peer.head()
        await peer.send(part)
        if part.endswith(b"\r\n\r\n"):
            assert (await client.head()).status == 103
        peer.close()
        assert (await client.message()).status == 502
        assert here.app.nothing_waits()


@pytest.mark.parametrize(
    "request_data", [POST, POST.replace(b"POST", b"PUT"), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"]
)
async def test_what_must_not_be_sent_twice_gets_a_fresh_connection(request_data: bytes) -> None:
    async with setting() as here:
        client, peer = await pooled(here)
        await client.send(request_data)
        fresh = await here.app.accept()
        await fresh.message()
        fresh.close()
        assert (await client.message()).status == 502
        assert here.app.nothing_waits()
        with trio.move_on_after(0.05):
            await peer.until(b"POST")
        assert peer.buffer == b""


async def test_a_fresh_connection_that_dies_without_a_byte_is_a_502() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        peer.close()
        assert (await client.message()).status == 502


async def test_an_idle_connection_is_kept_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "IDLE_SECONDS", 0.1)
    async with setting() as here:
        _, peer = await pooled(here)
        assert await peer.ended()
        assert len(here.context.pool) == 0


async def test_nothing_is_kept_of_a_generation_that_gets_no_new_requests() -> None:
    async with setting() as here:
        _, idle = await pooled(here)
        busy_client, busy = await here.pair(POST[:-5])
        old = here.generation
        await here.launch()
        assert old.state is State.DRAINING
        assert await idle.ended()
        await busy_client.send(b"hello")
        await busy.take(5)
        await busy.send(OK)
        assert (await busy_client.message()).body == b"ok"
        assert await busy.ended()
        assert old.holders == set()


async def test_a_second_try_stays_with_its_generation() -> None:
    async with setting() as here:
        client, peer = await pooled(here)
        old_app = here.app
        await client.send(GET)
        await peer.head()
        await here.launch()
        peer.close()
        await old_app.answer()
        assert (await client.message()).body == b"ok"


async def test_requests_of_many_clients_share_what_is_kept() -> None:
    async with setting() as here:
        here.serve()
        for _ in range(5):
            assert (await (await here.client()).ask()).body == b"ok"
        assert here.app.accepted == 1


async def test_a_full_queue_of_a_unix_socket_is_waited_for(tmp_path: Path) -> None:
    async with setting(app_address=UnixAddress(tmp_path / "app"), limits={"response_timeout": 5}) as here:
        here.app.shrink_queue()
        clients = [await here.client() for _ in range(5)]
        for client in clients:
            await client.send(GET)
        await trio.sleep(0.2)
        here.serve()
        for client in clients:
            assert (await client.message()).body == b"ok"


async def test_a_queue_that_stays_full_is_a_504(tmp_path: Path) -> None:
    async with setting(app_address=UnixAddress(tmp_path / "app"), limits={"response_timeout": 0.2}) as here:
        here.app.shrink_queue()
        clients = [await here.client() for _ in range(10)]
        for client in clients:
            await client.send(GET)
        for client in clients:
            assert (await client.message()).status == 504


async def test_a_client_that_leaves_while_the_queue_is_full_is_let_go(tmp_path: Path) -> None:
    async with setting(app_address=UnixAddress(tmp_path / "app"), limits={"response_timeout": None}) as here:
        here.app.shrink_queue()
        clients = [await here.client() for _ in range(5)]
        for client in clients:
            await client.send(GET)
        await eventually(lambda: len(here.generation.holders) == 5)
        for client in clients:
            client.reset()
        await eventually(lambda: not here.generation.holders)


@pytest.mark.parametrize("managed", [True, False])
async def test_a_socket_that_is_a_link_is_not_followed_if_the_app_could_have_made_it(
    managed: bool, tmp_path: Path
) -> None:
    async with setting(managed=managed, hold={"timeout": 0.1}, app_address=UnixAddress(tmp_path / "sock")) as here:
        here.serve()
        (tmp_path / "sock").rename(tmp_path / "elsewhere")
        (tmp_path / "sock").symlink_to("elsewhere")
        response = await (await here.client()).ask()
        assert response.status == (503 if managed else 200)


def connect_tightly(sock: socket.socket, path: Path) -> int:
    """Connect to the app by a socket that holds little."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return connect_to_socket_file(sock, path)


async def test_a_connection_that_still_carries_a_request_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(upstream, "connect_to_socket_file", connect_tightly)
    async with setting(app_address=UnixAddress(tmp_path / "app")) as here:
        client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n")
        await client.send(b"x" * 60000)
        await trio.testing.wait_all_tasks_blocked(0.01)  # the server has all of it, the app nothing
        await peer.send(OK)
        assert (await client.message()).body == b"ok"
        other = await here.client()
        await other.send(GET)
        await here.app.answer()
        assert (await other.message()).body == b"ok"
        assert await peer.rest() == b"x" * 60000


async def test_an_app_that_answered_early_gets_the_rest_as_slowly_as_it_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(upstream, "connect_to_socket_file", connect_tightly)
    async with setting(app_address=UnixAddress(tmp_path / "app")) as here:
        client, peer = await here.pair(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 75000\r\n\r\n")
        await client.send(b"x" * 60000)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await peer.send(OK)
        assert (await client.message()).body == b"ok"
        await client.send(b"x" * 15000)
        await peer.take(59000)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await peer.rest() == b"x" * 16000


@pytest.mark.parametrize("checkpoints", range(4))
async def test_a_client_that_resets_as_its_answer_comes_takes_nobody_along(checkpoints: int) -> None:
    head, body = POST[:-5], POST[-5:]
    async with setting() as here:
        client, peer = await here.pair(head)
        await client.send(body)
        await peer.take(5)
        os.write(peer.sock.fileno(), OK)
        for _ in range(checkpoints):  # one of them brings us between the end of the answer and that of the exchange
            await trio.lowlevel.checkpoint()
        client.reset()
        await trio.testing.wait_all_tasks_blocked(0.01)
        here.serve(peer)
        assert (await (await here.client()).ask()).body == b"ok"


async def test_a_refused_connect_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    reactor = Reactor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        wire = Wire(reactor, sock)
        with trio.fail_after(20), pytest.raises(ConnectionRefusedError):
            await Upstream(Generation(1, Path(), TcpAddress(*address)), wire).wait_connected()
        wire.close()
        nursery.cancel_scope.cancel()
