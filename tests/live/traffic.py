"""Clients of every kind that ask without a pause, and what they saw."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from tests.live.client import Answer, BadAnswer, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_SECONDS = 30.0
MESSAGE_GAP_SECONDS = 0.02
RECOVERY_SECONDS = 0.05
"""After a failure: an agent that is gone should not fill the report."""
BODY_BYTES = 3000
STREAM_END = b"end\n"
ERRORS = (OSError, EOFError, ValueError, KeyError, BadAnswer)

Asking = Coroutine[None, None, None]


@dataclass(frozen=True)
class Tunnel:
    """One WebSocket's life; ``closed`` by the other side, or open until the traffic ended."""

    generation: int
    opened_at: float
    ended_at: float
    closed: bool


@dataclass
class Traffic:
    """What the clients saw.  Times are seconds since the epoch, as the journal's.

    Attributes:
        message_gap_seconds: between two messages of a WebSocket.
        gap_seconds: between two requests of any other client.
        over: set to end the clients, each after its present answer.
        answers: kind, begin and generation of every good answer.
        boot_seconds: by generation, from the start of its process until it listened, as it says itself.
    """

    host: str
    port: int
    message_gap_seconds: float = MESSAGE_GAP_SECONDS
    gap_seconds: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    answers: list[tuple[str, float, int]] = field(default_factory=list)
    tunnels: list[Tunnel] = field(default_factory=list)
    boot_seconds: dict[int, float] = field(default_factory=dict)

    async def connect(self) -> Client:
        """Open a connection."""
        return await Client.connect(self.host, self.port)

    def accept(self, kind: str, begun_at: float, answer: Answer) -> None:
        """Take note of a good answer."""
        self.counts[kind] += 1
        self.answers.append((kind, begun_at, answer.generation))
        if "x-boot-seconds" in answer.fields:
            self.boot_seconds.setdefault(answer.generation, float(answer.fields["x-boot-seconds"]))

    def fail(self, kind: str, begun_at: float, what: object) -> None:
        """Take note of a failure."""
        clock = datetime.fromtimestamp(begun_at).astimezone().time().isoformat("milliseconds")
        self.failures.append(f"{kind}, begun at {clock}, after {time.time() - begun_at:.3f} s: {what!r}")

    def clients(self) -> Iterator[Asking]:
        """Return the clients: one of each kind, and several of some."""
        again = partial(ask_again_and_again, self)
        yield from (again("keep-alive", get) for _ in range(3))
        yield from (again("fresh", partial(get, last=True)) for _ in range(2))
        yield from (again("post with length", partial(post, chunked=False)) for _ in range(2))
        yield from (again("post chunked", partial(post, chunked=True)) for _ in range(2))
        yield from (again("slow", slow) for _ in range(4))
        yield from (again("stream", stream) for _ in range(4))
        yield from (talk_again_and_again(self) for _ in range(4))


async def ask_again_and_again(
    traffic: Traffic, kind: str, ask: Callable[[Client], Coroutine[None, None, Answer]]
) -> None:
    """Ask without a pause, over one connection for as long as it may be used."""
    client: Client | None = None
    while not traffic.over.is_set():
        begun_at = time.time()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                client = client or await traffic.connect()
                begun_at = time.time()
                answer = await ask(client)
            traffic.accept(kind, begun_at, answer)
            last = answer.last
            await asyncio.sleep(traffic.gap_seconds)
        except ERRORS as error:
            traffic.fail(kind, begun_at, error)
            await asyncio.sleep(RECOVERY_SECONDS)
            last = True
        if last and client is not None:
            await client.close()
            client = None
    if client is not None:
        await client.close()


async def get(client: Client, *, last: bool = False) -> Answer:
    """Request the shortest answer."""
    return good(await client.ask("/", last=last))


async def post(client: Client, *, chunked: bool) -> Answer:
    """Send a body, which must arrive complete."""
    body = os.urandom(BODY_BYTES)
    kind = ["Content-Type: application/octet-stream"]  # without one, frameworks read a form
    answer = good(await client.ask("/echo", body=body, chunked=chunked, fields=kind))
    if json.loads(answer.body) != {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}:
        raise BadAnswer(f"the app received another body: {answer.body!r}")
    return answer


async def slow(client: Client) -> Answer:
    """Request an answer that does not begin at once."""
    return good(await client.ask("/slow?ms=300"))


async def stream(client: Client) -> Answer:
    """Request an answer in many pieces, with an end of its own."""
    answer = good(await client.ask("/stream?seconds=1"))
    lines = answer.body.splitlines(keepends=True)
    if lines != [*(b"%d\n" % number for number in range(len(lines) - 1)), STREAM_END]:
        raise BadAnswer(f"a stream with a hole: {answer.body!r}")
    return answer


def good(answer: Answer) -> Answer:
    """Return the answer if it is the app's 200."""
    if answer.status != 200:
        raise BadAnswer(f"{answer.status} {answer.body[:200]!r}", answer)
    return answer


async def talk_again_and_again(traffic: Traffic) -> None:
    """Open one WebSocket after another, each for as long as it stays open."""
    while not traffic.over.is_set():
        opened_at = time.time()
        client: Client | None = None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                client = await traffic.connect()
                answer = await client.become_tunnel("/ws")
            traffic.accept("websocket", opened_at, answer)
        except ERRORS as error:
            traffic.fail("websocket", opened_at, error)
            if client is not None:
                await client.close()
            await asyncio.sleep(RECOVERY_SECONDS)
            continue
        closed = await talk(traffic, client, opened_at)
        traffic.tunnels.append(Tunnel(answer.generation, opened_at, time.time(), closed))
        await client.close()


async def talk(traffic: Traffic, client: Client, opened_at: float) -> bool:
    """Exchange messages until the other side closes; False where the traffic ended first."""
    for number in itertools.count():
        if traffic.over.is_set():
            break
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if not await client.exchange_message(b"message %d" % number):
                    return True
        except (TimeoutError, BadAnswer) as error:
            traffic.fail("websocket", opened_at, error)
            return True
        except (OSError, EOFError):
            return True  # whether it was time for that is judged when the switches are known
        traffic.counts["message"] += 1
        await asyncio.sleep(traffic.message_gap_seconds)
    return False
