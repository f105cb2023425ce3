"""What becomes of a connection after 101 Switching Protocols."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.address import UnixAddress
from rainbowd.proxy.tunnel import Tunnel
from rainbowd.proxy.wire import Wire
from tests.proxy.alone import alone
from tests.proxy.scripted import OK, Peer, Setting, eventually, setting

if TYPE_CHECKING:
    from pathlib import Path

UPGRADE = (
    b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Key: a2V5\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: eA==\r\n\r\n"
)


async def open_tunnel(here: Setting) -> tuple[Peer, Peer]:
    client, peer = await here.pair(UPGRADE)
    await peer.send(SWITCHING)
    assert (await client.head()).status == 101
    await eventually(lambda: len(here.generation.tunnels) > 0)
    return client, peer


async def flows(client: Peer, peer: Peer) -> None:
    await client.send(b"ping")
    assert await peer.take(4) == b"ping"
    await peer.send(b"pong")
    assert await client.take(4) == b"pong"


async def test_the_handshake_passes_and_bytes_flow_both_ways() -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(UPGRADE)
        peer = await here.app.accept()
        request = await peer.head()
        assert (request[b"connection"], request[b"upgrade"]) == (b"Upgrade", b"websocket")
        assert request[b"sec-websocket-key"] == b"a2V5"
        assert len(here.generation.holders) == 1
        await peer.send(SWITCHING)
        response = await client.head()
        assert (response.status, response[b"connection"], response[b"upgrade"]) == (101, b"Upgrade", b"websocket")
        assert response[b"sec-websocket-accept"] == b"eA=="
        for _ in range(3):
            await flows(client, peer)
        assert (len(here.generation.holders), len(here.generation.tunnels)) == (0, 1)


async def test_bytes_right_after_either_handshake_are_not_lost() -> None:
    async with setting() as here:
        client, peer = await here.pair(UPGRADE + b"early client")
        await peer.send(SWITCHING + b"early app")
        assert (await client.head()).status == 101
        assert await client.take(9) == b"early app"
        assert await peer.take(12) == b"early client"
        await flows(client, peer)


async def test_a_tunnel_over_unix_sockets(tmp_path: Path) -> None:
    async with setting(listen=UnixAddress(tmp_path / "front"), app_address=UnixAddress(tmp_path / "app")) as here:
        client, peer = await open_tunnel(here)
        await flows(client, peer)
        client.close()
        assert await peer.ended()


async def test_much_flows_both_ways_at_once() -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        size = 8 << 20
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"c" * size)
            nursery.start_soon(peer.send, b"p" * size)
            nursery.start_soon(client.take, size)
            nursery.start_soon(peer.take, size)
        await flows(client, peer)


async def test_a_refused_upgrade_is_plain_http() -> None:
    async with setting() as here:
        client, peer = await here.pair(UPGRADE)
        await peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        response = await client.message()
        assert (response.status, response.body) == (403, b"no")
        here.serve(peer)
        assert (await client.ask()).body == b"ok"


@pytest.mark.parametrize(
    "response",
    [b"", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", SWITCHING.replace(b"websocket", b"h2c"), b"HTTP/1.1 101 Sw"],
)
async def test_an_upgrade_that_fails_is_a_502(response: bytes) -> None:
    async with setting() as here:
        client, peer = await here.pair(UPGRADE)
        await peer.send(response)
        peer.close()
        assert (await client.message()).status == 502
        assert here.generation.tunnels == set()


@pytest.mark.parametrize(
    "request_data",
    [
        UPGRADE.replace(b"GET", b"POST"),
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        UPGRADE.replace(b"keep-alive, Upgrade", b"keep-alive"),
        UPGRADE.replace(b"WebSocket", b"h2c"),
    ],
)
async def test_what_is_no_upgrade_to_websocket_never_becomes_a_tunnel(request_data: bytes) -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(request_data)
        peer = await here.app.accept()
        request = await peer.head()
        assert (b"upgrade" in request, b"connection" in request) == (False, False)
        await peer.send(SWITCHING)
        assert (await client.message()).status == 502


@pytest.mark.parametrize("reset", [True, False])
async def test_the_end_of_the_app_reaches_the_client(reset: bool) -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        if reset:
            peer.reset()
            with pytest.raises(ConnectionResetError):
                await client.rest()
        else:
            await peer.send(b"bye")
            peer.close()
            assert await client.rest() == b"bye"
            client.close()
        await eventually(lambda: not here.generation.tunnels)


@pytest.mark.parametrize("reset", [True, False])
async def test_the_end_of_the_client_reaches_the_app(reset: bool) -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        if reset:
            client.reset()
            with pytest.raises(ConnectionResetError):
                await peer.rest()
        else:
            await client.send(b"bye")
            client.close()
            assert await peer.rest() == b"bye"
            peer.close()
        await eventually(lambda: not here.generation.tunnels)


async def test_after_the_end_of_one_side_the_other_can_continue() -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        await client.fin()
        assert await peer.rest() == b""
        await peer.send(b"the rest")
        assert await client.take(8) == b"the rest"
        peer.close()
        assert await client.rest() == b""


async def test_no_time_limit_ends_a_quiet_tunnel() -> None:
    limits = {"head_timeout": 0.1, "idle_timeout": 0.1, "body_timeout": 0.1, "response_timeout": 0.1}
    async with setting(limits=limits) as here:
        client, peer = await open_tunnel(here)
        await trio.sleep(0.5)
        await flows(client, peer)


async def test_a_cut_ends_a_tunnel_at_once() -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        (holder,) = here.generation.tunnels
        holder.cut()
        assert await client.ended()
        assert await peer.ended()
        assert here.generation.tunnels == set()


@pytest.mark.parametrize("stalled", ["client", "app", "both"])
async def test_a_cut_ends_a_tunnel_whatever_it_waits_for(stalled: str) -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        for sender in {"client": (peer,), "app": (client,), "both": (client, peer)}[stalled]:
            with trio.move_on_after(0.3):
                await sender.send(b"x" * (64 << 20))
        (holder,) = here.generation.tunnels
        holder.cut()
        await eventually(lambda: not here.generation.tunnels and not here.context.clients.served)


async def test_a_tunnel_survives_a_switch() -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        old = here.generation
        await here.launch()
        here.serve()
        assert (await (await here.client()).ask()).body == OK[-2:]
        await flows(client, peer)
        assert len(old.tunnels) == 1


async def test_a_tunnel_takes_no_task() -> None:
    async with setting() as here:
        tasks = trio.lowlevel.current_statistics().tasks_living
        tunnels = [await open_tunnel(here) for _ in range(3)]
        for client, peer in tunnels:
            await flows(client, peer)
        assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_request_that_was_held_may_become_a_tunnel() -> None:
    async with setting(live=False) as here:
        here.roster.hold_while(lambda: True)
        client = await here.client()
        await client.send(UPGRADE)
        await eventually(lambda: len(here.context.held_requests) > 0)
        await here.launch()
        peer = await here.app.accept()
        await peer.head()
        await peer.send(SWITCHING)
        assert (await client.head()).status == 101
        await flows(client, peer)
        (holder,) = here.generation.tunnels
        holder.cut()
        assert await client.ended()


async def test_what_one_side_does_not_read_is_not_taken_from_the_other() -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        sent = 0
        while more := peer.send_until_full():
            sent += more
            await trio.sleep(0.02)
        await client.send(b"the other way is free")
        assert await peer.take(21) == b"the other way is free"
        assert await client.take(sent) == b"x" * sent
        await flows(client, peer)


async def test_a_flood_in_one_tunnel_leaves_the_others_their_turn() -> None:
    async with setting() as here:
        (flooded, flooder), (client, peer) = await open_tunnel(here), await open_tunnel(here)
        waiting_bytes = flooder.send_until_full()  # nothing of the proxy runs meanwhile
        await client.send(b"a frame")
        moved_bytes = 0
        while not peer.take_what_is_there():
            await trio.lowlevel.checkpoint()
            moved_bytes += flooded.take_what_is_there()
        assert moved_bytes < waiting_bytes / 2


async def test_a_tunnel_needs_only_a_client_and_a_wire() -> None:
    async with alone() as parts, trio.open_nursery() as nursery:
        far, near = trio.socket.socketpair()
        near_sock = socket.socket(fileno=near.detach())
        near_sock.setblocking(False)
        tunnel, app = Tunnel(parts.client, Wire(parts.context.reactor, near_sock), parts.context.reactor), Peer(far)
        nursery.start_soon(tunnel.run, b"to client ", b"to app ")
        await app.send(b"hello")
        assert await parts.far.until(b"hello") == b"to client hello"
        await parts.far.send(b"hi")
        assert await app.until(b"hi") == b"to app hi"
        assert parts.client.is_tunnel
        tunnel.close()
        assert await app.ended()
        app.close()
    assert not parts.client.is_tunnel
