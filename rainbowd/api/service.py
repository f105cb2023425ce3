"""The API as the agent knows it: a socket, a token, and a task that goes on whatever breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.api.guard import Guard
from rainbowd.api.load_samples import LoadSampler
from rainbowd.api.metrics import Metrics
from rainbowd.api.routes import make_app
from rainbowd.api.server import serve
from rainbowd.log import get_logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.applications import Starlette

    from rainbowd.api.backend import ApiBackend
    from rainbowd.api.token import Token

AGAIN_SECONDS = 0.5
AGAIN_SECONDS_MAX = 30.0

log = get_logger()


class ApiService:
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
        self._pause_seconds = AGAIN_SECONDS

    async def run(self, controls: ApiBackend, begin: trio.Event, stop: trio.Event) -> None:
        """Count from now on, serve from ``begin`` to ``stop``; what breaks is said, and served again after a while."""
        metrics, load = Metrics(controls.sources), LoadSampler(controls.sources)
        await begin.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            while not stop.is_set():
                await self._serve(lambda: make_app(controls, metrics, load, stop), stop)
            nursery.cancel_scope.cancel()

    async def _serve(self, make: Callable[[], Starlette], stop: trio.Event) -> None:
        """Serve until told to stop, or until it breaks."""
        try:
            log.info("the API listens", listen=self._address)
            await serve(self._sock, Guard(make(), self._token), stop)
        except Exception as bug:
            log.error("bug: the API is down", again_in_seconds=self._pause_seconds, exc_info=bug)
            with trio.move_on_after(self._pause_seconds):
                await stop.wait()
            self._pause_seconds = min(2 * self._pause_seconds, AGAIN_SECONDS_MAX)
