"""The server's end: nothing that was accepted is lost, and nothing keeps it from ending."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from rainbowd.proxy import connection
from tests.proxy.scripted import GET, OK, Peer, Setting, setting
from tests.proxy.test_tunnel import open_tunnel

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


async def stop(here: Setting) -> None:
    here.stop.set()
    await trio.testing.wait_all_tasks_blocked(0.02)
    assert here.context.is_stopping


async def test_a_server_without_work_ends_at_once() -> None:
    async with setting() as here:
        here.stop.set()
        await here.finished.wait()


async def test_a_request_in_flight_is_finished_and_its_connection_closed() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await stop(here)
        await peer.send(OK)
        response = await client.message()
        assert (response.body, response[b"connection"]) == (b"ok", b"close")
        assert await client.rest() == b""
        await here.finished.wait()


async def test_an_upload_and_a_download_in_flight_are_finished() -> None:
    async with setting() as here:
        client, peer = await here.pair(POST)
        await stop(here)
        await client.send(b"hello")
        assert await peer.take(5) == b"hello"
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await client.until(b"ok\r\n")
        await peer.send(b"0\r\n\r\n")
        assert await client.rest() == b"0\r\n\r\n"
        await here.finished.wait()


async def test_a_connection_also_ends_after_a_response_that_promised_to_keep_it() -> None:
    async with setting() as here:
        client, peer = await here.pair()
        await peer.send(OK[:-1])
        response = await client.head()
        assert b"connection" not in response
        await stop(here)
        await peer.send(OK[-1:])
        assert await client.rest() == b"ok"
        await here.finished.wait()


async def test_a_request_that_was_pipelined_is_answered_still() -> None:
    async with setting() as here:
        client, peer = await here.pair(GET + GET)
        await peer.send(OK[:-1])
        await client.head()
        await stop(here)
        await peer.send(OK[-1:])
        assert await client.take(2) == b"ok"
        await peer.message()
        await peer.send(OK)
        response = await client.message()
        assert (response.body, response[b"connection"]) == (b"ok", b"close")
        assert await client.rest() == b""


async def test_an_idle_connection_is_closed_at_once() -> None:
    async with setting() as here:
        here.serve()
        client = await here.client()
        assert (await client.ask()).status == 200
        await stop(here)
        assert await client.rest() == b""
        await here.finished.wait()


async def test_a_connection_without_a_request_yet_is_given_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FRESH_GRACE_SECONDS", 0.5)
    async with setting() as here:
        here.serve()
        quick, silent = await here.client(), await here.client()
        await trio.testing.wait_all_tasks_blocked(0.02)
        await stop(here)
        response = await quick.ask()
        assert (response.status, response[b"connection"]) == (200, b"close")
        assert await silent.rest() == b""
        await here.finished.wait()


async def test_a_head_that_has_begun_may_be_finished() -> None:
    async with setting() as here:
        here.serve()
        client = await here.client()
        await client.send(GET[:10])
        await trio.testing.wait_all_tasks_blocked(0.02)
        await stop(here)
        await client.send(GET[10:])
        response = await client.message()
        assert (response.status, response[b"connection"]) == (200, b"close")
        await here.finished.wait()


async def test_connections_in_the_queue_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "FRESH_GRACE_SECONDS", 0.2)
    async with setting() as here:
        here.serve()
        queued = [blocking_client(here) for _ in range(20)]  # no checkpoint: nobody can have accepted them
        silent = blocking_client(here)
        for sock in queued[:10]:
            sock.send(GET)
        here.stop.set()
        for sock in queued[10:]:
            sock.send(GET)
        clients = [Peer(trio.socket.from_stdlib_socket(sock)) for sock in (*queued, silent)]
        for client in clients[:-1]:
            response = await client.message()
            assert (response.status, response[b"connection"]) == (200, b"close")
        assert await clients[-1].rest() == b""
        await here.finished.wait()
        for client in clients:
            client.close()


def blocking_client(here: Setting) -> socket.socket:
    address = here.listener.sock.getsockname()
    return socket.create_connection(address)


async def test_a_tunnel_is_closed_at_once() -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        await stop(here)
        assert await client.ended()
        assert await peer.ended()
        await here.finished.wait()


async def test_a_handshake_under_way_at_the_stop_becomes_no_tunnel() -> None:
    async with setting() as here:
        client, peer = await here.pair(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        await stop(here)
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert (await client.head()).status == 101
        assert await client.ended()
        await here.finished.wait()


async def test_a_held_request_is_answered() -> None:
    async with setting(live=False) as here:
        here.roster.hold_while(lambda: True)
        client = await here.client()
        await client.send(GET)
        await trio.testing.wait_all_tasks_blocked(0.02)
        await stop(here)
        response = await client.message()
        assert (response.status, response[b"connection"]) == (503, b"close")
        await here.finished.wait()


@pytest.mark.parametrize(
    ("request_data", "part"),
    [
        (GET, b""),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
        (POST, b""),
    ],
)
async def test_the_end_comes_when_its_time_is_over(request_data: bytes, part: bytes) -> None:
    async with setting(stop_seconds=0.2) as here:
        client, peer = await here.pair(request_data)
        await peer.send(part)
        here.stop.set()
        await here.finished.wait()
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        assert await peer.ended()


async def test_the_end_cuts_a_close_delimited_response_visibly() -> None:
    async with setting(stop_seconds=0.2) as here:
        client, peer = await here.pair(b"GET / HTTP/1.0\r\n\r\n")
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nok")
        await client.until(b"ok")
        here.stop.set()
        await here.finished.wait()
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_a_hurry_ends_every_exchange_at_once() -> None:
    async with setting() as here:
        waiting, _ = await here.pair()
        tunnelled, _ = await open_tunnel(here)
        await stop(here)
        here.server.stop_now()
        assert (await waiting.message()).status == 504
        assert await tunnelled.ended()
        await here.finished.wait()


async def test_no_client_is_accepted_after_the_stop() -> None:
    async with setting() as here:
        _, peer = await here.pair()
        await stop(here)
        with pytest.raises(OSError, match="refused"):
            await here.client()
        await peer.send(OK)
