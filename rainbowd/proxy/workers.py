"""The tasks that serve requests: as many as there are requests under way, however many connections are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import outcome
import trio

from rainbowd.log import get_logger

if TYPE_CHECKING:
    from rainbowd.http1 import Refusal
    from rainbowd.proxy.connection import Connection

_IDLE_MAX = 64
"""Workers kept for the next requests; to start one anew costs several times what it takes to wake one."""

log = get_logger()


class Workers:
    """Tasks that serve a connection each, and then the next one that has a request.

    Args:
        nursery: where they live; cancelled in the end.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._idle: list[trio.lowlevel.Task] = []

    def assign(self, connection: Connection, head: bytes | Refusal) -> None:
        """Have one of them run ``connection.serve(head)``."""
        if self._idle:
            trio.lowlevel.reschedule(self._idle.pop(), outcome.Value((connection, head)))
        else:
            self._nursery.start_soon(self._work, connection, head)

    async def _work(self, connection: Connection, head: bytes | Refusal) -> None:
        while True:
            try:
                await connection.serve(head)
            except Exception as bug:
                log.error("bug: a connection failed", exc_info=bug)
            if len(self._idle) >= _IDLE_MAX:
                return
            self._idle.append(trio.lowlevel.current_task())
            connection, head = await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        """All are cancelled at once: none is assigned anything any more."""
        self._idle.clear()
        return trio.lowlevel.Abort.SUCCEEDED
