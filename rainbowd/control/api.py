"""The API as the agent knows it: a socket, a token, and a task that goes on whatever breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.control.guard import Guard
from rainbowd.control.metrics import Metrics
from rainbowd.control.routes import make_app
from rainbowd.control.serving import serve
from rainbowd.log import get_logger

if TYPE_CHECKING:
    import socket

    from rainbowd.control.seam import Controls
    from rainbowd.control.token import Token

AGAIN_SECONDS = 0.5
AGAIN_SECONDS_MAX = 30.0

log = get_logger()


class Api:
    """Control over HTTP.

    Args:
        sock: bound and listening; it is left open.
        address: of it, for people.
        token: what callers have to know.
    """

    def __init__(self, sock: socket.socket, address: str, token: Token) -> None:
        self._sock = sock
        self._address = address
        self._token = token

    async def run(self, controls: Controls, begin: trio.Event, stop: trio.Event) -> None:
        """Count from now on, serve from ``begin`` to ``stop``; what breaks is said, and served again after a while."""
        metrics = Metrics(controls.sources)
        await begin.wait()
        pause_seconds = AGAIN_SECONDS
        while not stop.is_set():
            try:
                log.info("the API listens", listen=self._address)
                await serve(self._sock, Guard(make_app(controls, metrics, stop), self._token), stop)
            except Exception as bug:
                log.error("bug: the API is down", again_in_seconds=pause_seconds, exc_info=bug)
                with trio.move_on_after(pause_seconds):
                    await stop.wait()
                pause_seconds = min(2 * pause_seconds, AGAIN_SECONDS_MAX)
