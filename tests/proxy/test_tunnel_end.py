"""How a tunnel ends: by a FIN, by a full close, by a reset, in whatever state it finds the two directions."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.address import UnixAddress
from rainbowd.proxy import tunnel
from rainbowd.proxy.connection import Connection
from tests.proxy.scripted import Peer, Setting, eventually, setting
from tests.proxy.test_tunnel import flows, open_tunnel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.proxy.conftest import Line


async def stall(sender: Peer) -> None:
    """Send until nothing more is taken."""
    while sender.send_until_full():  # noqa: ASYNC110 - what it waits for is the kernel
        await trio.sleep(0.1)


def sides(client: Peer, peer: Peer, leaver: str) -> tuple[Peer, Peer]:
    """The one that leaves, and the one that stays."""
    return (client, peer) if leaver == "client" else (peer, client)


def is_gone(peer: Peer) -> bool:
    """Whether the connection was reset, or is shut in both directions."""
    poll = select.poll()
    poll.register(peer.sock.fileno(), 0)
    return bool(poll.poll(0))


def over(here: Setting) -> Callable[[], bool]:
    return lambda: not here.generation.tunnels and not here.context.clients.served


@pytest.mark.parametrize("leaver", ["client", "app"])
async def test_a_reset_after_a_fin_reaches_the_other_side(leaver: str) -> None:
    async with setting() as here:
        left, stays = sides(*await open_tunnel(here), leaver)
        await left.fin()
        assert await stays.rest() == b""
        left.reset()
        with trio.fail_after(8):
            await eventually(lambda: is_gone(stays))
            await eventually(over(here))


@pytest.mark.parametrize("leaver", ["client", "app"])
async def test_a_reset_reaches_a_side_that_does_not_read(leaver: str) -> None:
    async with setting() as here:
        left, stays = sides(*await open_tunnel(here), leaver)
        await stall(left)
        left.reset()
        with trio.fail_after(8):
            await eventually(over(here))
        with pytest.raises(ConnectionResetError):
            await stays.rest()


@pytest.mark.parametrize("leaver", ["client", "app"])
async def test_a_reset_of_a_side_that_does_not_read_reaches_the_other(leaver: str) -> None:
    async with setting() as here:
        left, stays = sides(*await open_tunnel(here), leaver)
        await stall(stays)
        left.reset()
        await eventually(over(here))


@pytest.mark.parametrize("leaver", ["client", "app"])
async def test_what_was_sent_right_before_a_reset_arrives(leaver: str) -> None:
    async with setting() as here:
        left, stays = sides(*await open_tunnel(here), leaver)
        await left.send(b"bye")
        left.reset()
        assert await stays.take(3) == b"bye"
        with pytest.raises(ConnectionResetError):
            await stays.rest()


async def test_a_close_on_a_unix_socket_reaches_a_side_that_waits_for_room(tmp_path: Path) -> None:
    async with setting(listen=UnixAddress(tmp_path / "front"), app_address=UnixAddress(tmp_path / "app")) as here:
        client, peer = await open_tunnel(here)
        await stall(client)
        peer.close()
        with trio.fail_after(8):
            await eventually(over(here))


@pytest.mark.parametrize("leaver", ["client", "app"])
async def test_what_is_sent_to_a_side_that_is_gone_ends_the_tunnel(leaver: str) -> None:
    async with setting() as here:
        left, stays = sides(*await open_tunnel(here), leaver)
        left.close()
        assert await stays.rest() == b""
        await stays.send(b"anybody there?")  # answered by a reset
        with trio.fail_after(8):
            await eventually(lambda: is_gone(stays))
            await eventually(over(here))


@pytest.mark.parametrize("leaver", ["client", "app"])
async def test_a_side_that_stays_silent_after_the_others_end_is_not_kept(
    leaver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "HALF_CLOSED_SECONDS", 0.2, raising=False)
    async with setting() as here:
        left, stays = sides(*await open_tunnel(here), leaver)
        left.close()
        assert await stays.rest() == b""
        with trio.fail_after(8):
            await eventually(over(here))


@pytest.mark.parametrize("leaver", ["client", "app"])
async def test_a_side_that_keeps_sending_after_the_others_fin_is_relayed_to_its_end(leaver: str) -> None:
    async with setting() as here:
        left, stays = sides(*await open_tunnel(here), leaver)
        await left.send(b"all I had")
        await left.fin()
        assert await stays.rest() == b"all I had"
        size = 4 << 20
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stays.send, b"y" * size)
            assert await left.take(size) == b"y" * size
        stays.close()
        assert await left.rest() == b""
        left.close()
        await eventually(over(here))


@pytest.mark.parametrize("leaver", ["client", "app"])
async def test_all_that_was_sent_before_a_close_arrives_at_a_slow_reader(leaver: str) -> None:
    async with setting() as here:
        left, stays = sides(*await open_tunnel(here), leaver)
        size = 2 << 20
        await left.send(b"z" * size)
        left.close()
        received = 0
        while received < size:
            received += len(await stays.take(min(1 << 18, size - received)))
            await trio.sleep(0.01)
        assert await stays.rest() == b""


class Faulty(socket.socket):
    """A socket that fails in a way that nobody expects."""

    def recv(self, *_: object) -> bytes:
        raise ZeroDivisionError


async def test_a_bug_ends_the_tunnel_that_it_is_in(lines: list[Line]) -> None:
    async with setting() as here:
        client, peer = await open_tunnel(here)
        (connection,) = here.context.clients.tunnels
        assert isinstance(connection, Connection)
        connection.wire.sock = Faulty(fileno=connection.wire.sock.detach())
        await client.send(b"x")
        assert await client.ended()
        assert await peer.ended()
        await eventually(over(here))
    assert {(level, event) for level, event, _ in lines} == {("error", "bug: a connection failed")}
    lines.clear()


async def test_the_end_of_one_tunnel_leaves_the_others_alone() -> None:
    async with setting() as here:
        tunnels = [await open_tunnel(here) for _ in range(4)]
        tunnels[0][0].reset()
        tunnels[1][1].reset()
        tunnels[2][0].close()
        assert await tunnels[2][1].rest() == b""
        tunnels[2][1].close()
        await eventually(lambda: len(here.generation.tunnels) == 1)
        await flows(*tunnels[3])
