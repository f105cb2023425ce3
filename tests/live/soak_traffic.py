"""Clients that send much, read slowly, disconnect early or send invalid bytes, all without a pause."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.live.app import PATTERN
from tests.live.client import BadAnswer, Client
from tests.live.traffic import ANSWER_SECONDS, ERRORS, RECOVERY_SECONDS, ask_again_and_again, get, good

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tests.live.client import Answer
    from tests.live.traffic import Asking, Traffic

UPLOAD_BYTES = 200_000
DOWNLOAD_BYTES = 3_000_000
SLOW_BYTES = 8_000_000
"""More bytes than all socket buffers on the way hold, so that the app must wait too."""
IDLE = 20
PIPELINED = 20
KINDS = ("upload", "download", "slow reader", "pipelined", "idle", "abort", "garbage")

_dice = random.Random(0)


def rough_clients(traffic: Traffic) -> Iterator[Asking]:
    """The clients: one of each kind, and two of some."""
    again = partial(ask_again_and_again, traffic)
    yield again("upload", partial(upload, chunked=False))
    yield again("upload", partial(upload, chunked=True))
    yield again("download", download)
    alone = partial(go_again_and_again, traffic)
    yield from (alone("slow reader", read_slowly) for _ in range(2))
    yield alone("pipelined", pipeline)
    yield alone("idle", stay_idle)
    yield from (alone("abort", abort) for _ in range(2))
    yield alone("garbage", talk_nonsense)


async def go_again_and_again(traffic: Traffic, kind: str, go: Callable[[Traffic], Coroutine[None, None, None]]) -> None:
    """Run the clients that need connections of their own."""
    while not traffic.over.is_set():
        begun_at = time.time()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await go(traffic)
            traffic.counts[kind] += 1
        except ERRORS as error:
            traffic.fail(kind, begun_at, error)
            await asyncio.sleep(RECOVERY_SECONDS)


async def upload(client: Client, *, chunked: bool) -> Answer:
    """Send a body of any size, which must arrive complete."""
    body = _dice.randbytes(_dice.choice((2, 1000, 65536, UPLOAD_BYTES)))
    answer = good(await client.ask("/echo", body=body, chunked=chunked))
    if json.loads(answer.body) != {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}:
        raise BadAnswer(f"the app received another body: {answer.body!r}")
    return answer


def pattern(count: int) -> bytes:
    """Return the body with which ``/big`` answers."""
    return (PATTERN * (count // len(PATTERN) + 1))[:count]


async def download(client: Client) -> Answer:
    """Request an answer of some megabytes."""
    count = _dice.randint(1, DOWNLOAD_BYTES)
    answer = good(await client.ask(f"/big?bytes={count}"))
    if answer.body != pattern(count):
        raise BadAnswer(f"{len(answer.body)} bytes of a download, wrong ones or not {count}")
    return answer


async def read_slowly(traffic: Traffic) -> None:
    """Download with pauses: the rest is delayed, and neither lost nor cut."""
    reader, writer = await asyncio.open_connection(traffic.host, traffic.port)
    try:
        writer.write(b"GET /big?bytes=%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % SLOW_BYTES)
        await reader.readuntil(b"\r\n\r\n")
        received = hashlib.sha256()
        for _ in range(SLOW_BYTES // 500_000):
            received.update(await reader.readexactly(500_000))
            await asyncio.sleep(0.05)
        if await reader.read() or received.digest() != hashlib.sha256(pattern(SLOW_BYTES)).digest():
            raise BadAnswer("a slow download with other bytes")
    finally:
        writer.close()


async def pipeline(traffic: Traffic) -> None:
    """Send many requests before the first answer, with and without bodies."""
    client = await Client.connect(traffic.host, traffic.port)
    try:
        await client.send_ahead([(f"/echo?{number}", b"x" * number) for number in range(PIPELINED)])
        for number in range(PIPELINED):
            answer = await client.read_answer()
            if answer.last:
                return  # the app ends this connection, or the proxy does: what follows was not asked
            if json.loads(good(answer).body)["length"] != number:
                raise BadAnswer(f"answer {number} is another's: {answer.body!r}")
    finally:
        await client.close()


async def stay_idle(traffic: Traffic) -> None:
    """Keep many connections idle for a while, before their first request and between two."""
    idle = clients = [await Client.connect(traffic.host, traffic.port) for _ in range(IDLE)]
    try:
        for _ in range(3):
            await asyncio.sleep(_dice.random())
            answers = await asyncio.gather(
                *map(get, idle)
            )  # all at once: one that waits its turn may be closed meanwhile
            idle = [client for client, answer in zip(idle, answers, strict=True) if not answer.last]
    finally:
        for client in clients:
            await client.close()


ABORTED = (
    b"",
    b"GET / HTTP/1.1\r\nHo",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /slow?ms=200 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /big?bytes=50000000 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000,
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n",
)


async def abort(traffic: Traffic) -> None:
    """Disconnect in the middle, by a reset or a FIN."""
    reader, writer = await asyncio.open_connection(traffic.host, traffic.port)
    writer.write(_dice.choice(ABORTED))
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(_dice.random() * 0.05):
            while await reader.read(65536):
                pass
    if _dice.random() < 0.5:
        writer.transport.abort()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def talk_nonsense(traffic: Traffic) -> None:
    """Send bytes that are not a request: they are refused, or the connection is closed."""
    reader, writer = await asyncio.open_connection(traffic.host, traffic.port)
    try:
        writer.write(_dice.choice((_dice.randbytes(300), b"\r\n", b"GET / HTTP/1.1\nHost: a\n\n", b"\x16\x03\x01")))
        writer.write_eof()
        answer = await reader.read()
        if answer and not answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")):
            raise BadAnswer(f"an answer to nonsense: {answer[:100]!r}")
    except ConnectionResetError:
        pass  # it was closed with more of it unread
    finally:
        writer.close()
