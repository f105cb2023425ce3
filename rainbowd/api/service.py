"""The API as a service of the agent: a socket, a token, and a task that restarts the server if it fails."""

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

RESTART_SECONDS = 0.5
RESTART_SECONDS_MAX = 30.0

log = get_logger()


class ApiService:
    """The running API, which is restarted after a bug.

    Args:
        sock: bound and listening; it stays open.
        address: of the socket, for people.
        token: that clients must send.
    """

    def __init__(self, sock: socket.socket, address: str, token: Token) -> None:
        self._sock = sock
        self._address = address
        self._token = token
        self._pause_seconds = RESTART_SECONDS

    def store_again(self) -> None:
        """Write the token once more if its file was removed with the state directory.

        Raises:
            OSError: it cannot be written.
        """
        self._token.store_again()

    async def run(self, backend: ApiBackend, begin: trio.Event, stop: trio.Event) -> None:
        """Count from now on, and serve from ``begin`` to ``stop``; restart the server if it fails.

        Args:
            backend: the agent.
            begin: set when the API can be used.
            stop: set when it must stop.
        """
        metrics, load = Metrics(backend.sources), LoadSampler(backend.sources)
        await begin.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            while not stop.is_set():
                await self._serve(lambda: make_app(backend, metrics, load, stop), stop)
            nursery.cancel_scope.cancel()

    async def _serve(self, make: Callable[[], Starlette], stop: trio.Event) -> None:
        """Serve until ``stop`` is set, or until the server fails."""
        try:
            log.info("the API listens", listen=self._address)
            await serve(self._sock, Guard(make(), self._token), stop)
        except Exception as bug:
            log.error("bug: the API failed; restarting it", restart_seconds=self._pause_seconds, exc_info=bug)
            with trio.move_on_after(self._pause_seconds):
                await stop.wait()
            self._pause_seconds = min(2 * self._pause_seconds, RESTART_SECONDS_MAX)
