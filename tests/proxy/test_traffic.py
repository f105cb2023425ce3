"""What is counted where somebody wants to know, and that nothing is where nobody does."""

from __future__ import annotations

from rainbowd.roster.traffic import BOUNDS_SECONDS, GONE, Traffic
from tests.proxy.scripted import GET, Setting, eventually, setting


def counted(here: Setting) -> Traffic:
    here.context.traffic = Traffic()
    return here.context.traffic


async def test_an_answer_of_the_app_is_counted_by_class_size_and_time() -> None:
    async with setting() as here:
        traffic = counted(here)
        for status in (b"200 OK", b"404 Not Found", b"999 Odd"):
            client, peer = await here.pair()
            await peer.send(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello" % status)
            await client.message()
        await eventually(lambda: sum(traffic.by_class) == 3)
        assert [traffic.by_class[index] for index in (2, 4, 9)] == [1, 1, 1]
        assert (sum(traffic.by_duration), traffic.sent_bytes, traffic.own) == (3, 15, {})
        assert 0 < traffic.seconds < 3 * BOUNDS_SECONDS[-1]


async def test_an_answer_of_the_proxy_is_counted_apart() -> None:
    async with setting(live=False) as here:
        traffic = counted(here)
        client = await here.client()
        assert (await client.ask()).status == 503
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert (await client.message()).status == 400
        await eventually(lambda: traffic.own == {503: 1, 400: 1})
        assert (traffic.by_class[5], traffic.by_class[4], sum(traffic.by_duration)) == (1, 1, 0)


async def test_incomplete_answers_are_counted_by_who_ended_them() -> None:
    async with setting() as here:
        traffic = counted(here)
        client = await here.client()
        await client.send(GET)
        peer, _ = await here.app.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        peer.reset()
        await eventually(lambda: traffic.broken == 1)
        other = await here.client()
        await other.send(GET)
        await here.app.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        other.reset()
        await eventually(lambda: traffic.by_class[GONE] == 1)
        assert (traffic.by_class[2], traffic.broken, sum(traffic.by_duration)) == (1, 1, 0)


async def test_a_tunnel_is_counted_and_its_time_is_not() -> None:
    async with setting() as here:
        traffic = counted(here)
        client = await here.client()
        await client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        peer, _ = await here.app.answer(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        peer.reset()
        await eventually(lambda: traffic.by_class[1] == 1)
        assert (sum(traffic.by_duration), traffic.seconds) == (0, 0)


async def test_connections_to_the_app_are_counted_when_they_are_begun_and_when_a_dead_one_is_replaced() -> None:
    async with setting() as here:
        client = await here.client()
        await client.send(GET)
        peer, _ = await here.app.answer()
        await client.message()
        await eventually(lambda: len(here.context.pool) == 1)
        assert (here.context.pool.opened, here.context.retries) == (1, 0)
        await client.send(GET)
        await peer.head()
        peer.close()
        await here.app.answer()
        await client.message()
        assert (here.context.pool.opened, here.context.retries) == (2, 1)
