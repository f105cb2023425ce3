"""A bounded mixed load: the same for every server and every way of deploying."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from tests.live.traffic import Traffic, ask_again_and_again, get, good, post, slow, stream, talk_again_and_again

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator

    from tests.live.client import Answer, Client
    from tests.live.traffic import Asking

    Ask = Callable[[Client], Coroutine[None, None, Answer]]

PAUSE_SECONDS = 0.02

KINDS: dict[str, tuple[Ask, ...]] = {
    "keep-alive": (get, get),
    "fresh": (partial(get, last=True),),
    "post": (partial(post, chunked=False),),
    "chunked": (partial(post, chunked=True),),
    "slow": (slow,),
    "stream": (stream,),
}
"""What is asked for, by as many clients at once as there are entries."""


class Unnumbered(Traffic):
    """What was seen of a server whose answers do not say which generation they are from."""

    def accept(self, kind: str, begun_at: float, answer: Answer) -> None:
        """Take note of a good answer."""
        self.counts[kind] += 1


def clients(traffic: Traffic, *, without: Collection[str] = (), websocket: bool = False) -> Iterator[Asking]:
    """One client for each entry of ``KINDS``, and two WebSockets.

    Args:
        without: kinds to leave out.
        websocket: whether the server speaks it.
    """
    for kind, asked in KINDS.items():
        if kind not in without:
            yield from (ask_again_and_again(traffic, kind, partial(_after_a_pause, ask)) for ask in asked)
    if websocket:
        yield from (talk_again_and_again(traffic) for _ in range(2))


async def _after_a_pause(ask: Ask, client: Client) -> Answer:
    answer = good(await ask(client))
    await asyncio.sleep(PAUSE_SECONDS)
    return answer
