"""What a connection becomes after ``101 Switching Protocols``: bytes both ways, until both ends are done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from rainbowd.proxy.wire import Wire

_TURN_BYTES = 1 << 20
"""How much one direction may move before others get a turn."""


class TunnelClosed(Exception):  # noqa: N818 - an end like any other
    """The tunnel is to end now: its generation drains, or the agent stops."""


async def tunnel(client: Wire, upstream: Wire) -> None:
    """Move bytes both ways; one side's end is passed on, and the other side may go on until its own.

    A side that breaks takes the other one along. Both are closed in the end.
    """
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_move, client, upstream, nursery.cancel_scope)
            nursery.start_soon(_move, upstream, client, nursery.cancel_scope)
    finally:
        client.close()
        upstream.close()


async def _move(source: Wire, sink: Wire, scope: trio.CancelScope) -> None:
    moved_bytes = 0
    try:
        while data := await source.recv():
            await sink.send(data)
            moved_bytes += len(data)
            if moved_bytes >= _TURN_BYTES:
                moved_bytes = 0
                await trio.lowlevel.checkpoint()
        await sink.shut_down_sending()
    except TunnelClosed:
        scope.cancel()
    except OSError:
        source.reset()
        sink.reset()
        scope.cancel()
