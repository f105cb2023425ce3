"""What a connection becomes after ``101 Switching Protocols``: bytes both ways, until both ends are done."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from rainbowd.proxy.wire import Wire

HALF_CLOSED_SECONDS = 10.0
"""Behind one side's end: how long the other may be silent. It was told, and may send the rest."""

BROKEN_SECONDS = 0.5
"""Behind a reset of one side: how long what it sent before may take to be passed on."""

_TURN_BYTES = 1 << 20
"""How much one direction may move before others get a turn."""


class TunnelClosed(Exception):  # noqa: N818 - an end like any other
    """The tunnel is to end now: its generation drains, or the agent stops."""


class _Direction:
    """One way through a tunnel.

    Attributes:
        ended: the source's end was passed on.
        scope: ends the direction.
    """

    def __init__(self, source: Wire, sink: Wire) -> None:
        self.source = source
        self.sink = sink
        self.ended = False
        self.scope = trio.CancelScope()

    async def move(self, back: _Direction, whole: trio.CancelScope) -> None:
        """Pass on what comes until it ends, and the end too; a side that breaks ends the whole tunnel."""
        try:
            with self.scope:
                await self._pass_on(back)
                back.scope.deadline = trio.current_time() + HALF_CLOSED_SECONDS
            if self.scope.cancelled_caught:  # nobody is there any more
                whole.cancel()
        except TunnelClosed:
            whole.cancel()
        except OSError:
            self.source.reset()
            self.sink.reset()
            whole.cancel()

    async def _pass_on(self, back: _Direction) -> None:
        moved_bytes = 0
        while data := await self.source.recv():
            await self.sink.send(data)
            if back.ended:
                self.scope.deadline = trio.current_time() + HALF_CLOSED_SECONDS
            moved_bytes += len(data)
            if moved_bytes >= _TURN_BYTES:
                moved_bytes = 0
                await trio.lowlevel.checkpoint()
        await self.sink.shut_down_sending()
        self.ended = True


async def tunnel(client: Wire, upstream: Wire) -> None:
    """Move bytes both ways; one side's end is passed on, and the other side may go on until its own.

    A side that breaks takes the other one along. Both are closed in the end.
    """
    there, back = _Direction(client, upstream), _Direction(upstream, client)
    with trio.CancelScope() as whole:
        for wire in (client, upstream):
            wire.on_ended = partial(_hasten, wire, whole)
            _hasten(wire, whole)  # it may have broken before anybody was to be told
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there.move, back, whole)
                nursery.start_soon(back.move, there, whole)
        finally:
            for wire in (client, upstream):
                if there.source.broken or back.source.broken:
                    wire.reset()
                wire.close()


def _hasten(wire: Wire, whole: trio.CancelScope) -> None:
    """A side that broke may be one that nobody waits for just now: the tunnel ends soon in any case."""
    if wire.broken:
        whole.deadline = min(whole.deadline, trio.current_time() + BROKEN_SECONDS)
