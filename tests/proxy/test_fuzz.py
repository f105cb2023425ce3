"""Nothing that a client or an app sends ends the server, or another connection, or is a bug."""

from __future__ import annotations

import random

import pytest
import trio

from tests.proxy.scripted import GET, OK, Peer, Setting, eventually, setting
from tests.proxy.test_tunnel import SWITCHING, UPGRADE

TRIES = 150
REQUESTS = [
    GET,
    b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello" + GET,
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n" + GET,
    b"HEAD http://a/x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, X-A\r\nX-A: b\r\n\r\n",
    UPGRADE + b"\x81\x85abcdhello",
]
RESPONSES = [
    OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.0 200 OK\r\nSet-Cookie: a=b\r\n\r\nhello",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
    SWITCHING + b"\x81\x05hello",
]
PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"\xff", b"\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1"),
    *(b"\r\nContent-Length: 3", b"\r\nTransfer-Encoding: chunked", b"\r\nConnection: close", b"\r\nHost: b"),
    *(b"\r\nUpgrade: websocket", b"ffffffffffffffff\r\n", b"-1", b"HTTP/1.1 101 Go\r\n\r\n", b"x" * 70_000),
]


def mutated(dice: random.Random, message: bytes) -> bytes:
    """``message`` with a few of its bytes changed, removed, doubled, or something put between."""
    data = bytearray(message)
    for _ in range(dice.randint(0, 4)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(5):
            case 0:
                data[at : at + 1] = dice.randbytes(1)
            case 1:
                del data[at : at + dice.randint(1, 10)]
            case 2:
                data[at:at] = data[at : at + dice.randint(1, 40)]
            case 3:
                data[at:at] = dice.choice(PIECES)
            case _:
                del data[at:]
    return bytes(data)


async def throw(dice: random.Random, peer: Peer, data: bytes) -> None:
    """Send ``data`` in pieces and leave in one way or another, whatever comes back."""
    try:
        while data:
            size = dice.choice((1, 7, 100, len(data)))
            with trio.move_on_after(1):
                await peer.send(data[:size])
            data = data[size:]
            await trio.lowlevel.checkpoint()
        match dice.randrange(4):
            case 0:
                peer.reset()
            case 1:
                peer.close()
            case _:
                await peer.fin()
                with trio.move_on_after(0.05):
                    await peer.rest()
                peer.close()
    except OSError:
        peer.close()


async def answer_wildly(here: Setting, dice: random.Random) -> None:
    """Run an app that sends random data on each connection."""
    async with trio.open_nursery() as nursery:
        while True:
            peer = await here.app.accept()
            data = mutated(dice, dice.choice(RESPONSES))
            nursery.start_soon(throw, dice, peer, data if dice.random() < 0.9 else dice.randbytes(200))


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_both_sides_send_others_are_served(seed: int) -> None:
    dice = random.Random(seed)
    async with setting(limits={"response_timeout": 0.3, "body_timeout": 0.3, "head_timeout": 0.3}) as here:
        bystander, peer = await here.pair(GET)  # in the middle of a download all the time
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
        assert (await bystander.head()).status == 200
        here.nursery.start_soon(answer_wildly, here, dice)

        async def come() -> None:
            data = mutated(dice, dice.choice(REQUESTS)) if dice.random() < 0.9 else dice.randbytes(200)
            await throw(dice, await here.client(), data)

        for _ in range(TRIES // 10):
            async with trio.open_nursery() as crowd:
                for _ in range(10):
                    crowd.start_soon(come)
        await peer.send(b"two")
        assert await bystander.take(6) == b"onetwo"
        await here.launch()
        here.serve()
        assert (await bystander.ask()).body == b"ok"
        bystander.close()
        await eventually(lambda: not here.context.clients.served)
