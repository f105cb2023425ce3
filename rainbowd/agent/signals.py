"""The signals that the agent handles, and what a hangup means."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable

    from rainbowd.sighup import Hangup

HANDLED_SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)

log = get_logger()


async def handle_signals(
    early: Iterable[int], received: AsyncIterable[int], hangup: Hangup, on_signal: Callable[[int], None]
) -> None:
    """Call a function for each signal until cancelled.

    Args:
        early: signals that arrived before this process could handle any.
        received: signals as they arrive.
        hangup: decides about SIGHUP: it is ignored, it deploys, or it stops the agent because its terminal was closed.
        on_signal: the function; it gets the signal's number, and SIGTERM for a terminal that was closed.
    """

    def handle(signum: int) -> None:
        if signum != signal.SIGHUP:
            on_signal(signum)
        elif hangup.is_ignored:
            log.info("HUP is ignored, as it was when rainbowd was started")
        elif hangup.had_terminal:
            hangups.start_soon(_handle_hangup, hangup, on_signal)
        else:
            on_signal(signum)

    async with trio.open_nursery() as hangups:
        for signum in early:
            handle(signum)
        async for signum in received:
            handle(signum)


async def _handle_hangup(hangup: Hangup, on_signal: Callable[[int], None]) -> None:
    """Stop the agent if its terminal was closed, else deploy."""
    if await hangup.is_from_closed_terminal():
        log.info("the terminal was closed")
        on_signal(signal.SIGTERM)
    else:
        on_signal(signal.SIGHUP)
