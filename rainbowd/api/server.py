"""The API's server: Hypercorn's connections, with limits, on a given socket.

``hypercorn.trio.serve`` accepts without a limit, lets a bug in one connection end all of them, and shields its writes
from cancellation, so that one client that does not read could keep an agent from ever exiting.  So this module accepts
connections itself, and gives Hypercorn a stream in which every wait has a timeout.

This needs Hypercorn's internals, which may change in any version.  So no other module imports Hypercorn, and the
package has an upper bound, which is raised when the tests have passed with the next version.

Hypercorn on an inner socket with the proxy's ``Server`` in front would need none of its internals.  But the proxy does
not know which connections have sent the token, so strangers with a hundred silent ones would lock everyone out.  It
would also hide the user at the other end of a Unix socket, answer clients above the limit with 503 instead of letting
them wait, and take more time: 1.9 ms of the processor for a call, instead of 1.1 ms.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from rainbowd.api.caller import caller_name
from rainbowd.api.connection_limit import Admission, ConnectionLimit
from rainbowd.log import get_logger

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp, Receive, Scope, Send

CONNECTIONS_MAX = 100
SLOT_SECONDS = 1.0
"""How long a connection counts at least, which limits the pace of short connections."""

HEAD_SECONDS = 5.0
"""The timeout for a request's head, and between two requests."""
SEND_SECONDS = 20.0
"""How long a client may read nothing of what it is sent."""
LINGER_SECONDS = 1.0
LINGER_PAUSE_SECONDS = 0.05
"""How long, and with which pauses, to read from a client that still sends, so that it receives our response."""
STOP_SECONDS = 3.0
"""How long responses in progress can take when the server stops."""
_PAUSE_SECONDS = 0.5

log = get_logger()


async def serve(
    sock: socket.socket,
    app: ASGIApp,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` until ``stop`` is set; then finish the requests in progress.

    Args:
        sock: bound and listening; it stays open.
        app: an ASGI application.
        stop: when it is set, no more connections are accepted.
        task_status: for ``nursery.start``.
    """
    limit, server = ConnectionLimit(CONNECTIONS_MAX), _Server(app, stop)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock.dup()))
    async with listener, trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(_accept, listener, limit, connections, server.converse)
            task_status.started()
            await stop.wait()
            accepting.cancel_scope.cancel()
        await server.context.terminated.set()
        connections.cancel_scope.deadline = trio.current_time() + STOP_SECONDS


class _Server:
    """What all connections share: the app, and the settings and the state of Hypercorn."""

    def __init__(self, app: ASGIApp, stop: trio.Event) -> None:
        self.context = WorkerContext(None)
        self._app = app
        self._stop = stop
        self._config = make_config()

    async def converse(self, stream: trio.SocketStream, admission: Admission) -> None:
        """Serve one connection, and keep its place for a while after its end."""
        begun = trio.current_time()
        own = BoundedStream(stream, admission.scope)
        try:
            with own.scope:
                within: Any = _within(self._app, admission, caller_name(stream.socket))
                await self._connection(within, own)
                await own.linger()
        except Exception as bug:
            log.error("bug: a connection to the API failed", exc_info=bug)
        finally:
            own.close()
            admission.is_over = True
        with trio.move_on_at(begun + SLOT_SECONDS):
            await self._stop.wait()
        admission.end()

    def _connection(self, app: Any, stream: Any) -> ApiConnection:
        return ApiConnection(ASGIWrapper(app), self._config, self.context, ConnectionState({}), stream)


async def _accept(
    listener: trio.SocketListener, limit: ConnectionLimit, connections: trio.Nursery, converse: Any
) -> None:
    while True:
        try:
            stream = await listener.accept()
        except OSError as error:
            log.warning("the API cannot accept connections", error=error.strerror)
            await trio.sleep(_PAUSE_SECONDS)
            continue
        try:
            admission = await limit.admit()
        except trio.Cancelled:
            stream.socket.close()
            raise
        connections.start_soon(converse, stream, admission)


def _within(app: ASGIApp, admission: Admission, caller: str | None) -> ASGIApp:
    """Return ``app`` with two values about its connection in its scope.

    They are ``kept``, in which a call with the token keeps the connection open, and ``caller``, the caller's name.
    """

    async def within(scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(kept=admission.kept, caller=caller)
        await app(scope, receive, send)

    return within


def make_config() -> Config:
    """Return the settings of Hypercorn for the API."""
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.logger_class = HypercornLog
    config.include_server_header = False
    config.keep_alive_timeout = HEAD_SECONDS
    config.h11_max_incomplete_size = 16 << 10
    return config


class HypercornLog(Logger):
    """Hypercorn's messages in the agent's log: its errors as errors, everything else as debug."""

    async def access(self, *_args: Any) -> None:
        """Log nothing, because the target of a request can contain secrets."""

    async def debug(self, message: str, *_args: Any, **_kwargs: Any) -> None:
        """Log a message at level debug."""
        log.debug("hypercorn", text=message)

    async def error(self, message: str, *_args: Any, **_kwargs: Any) -> None:
        """Log an error, with the exception that is being handled."""
        log.error("hypercorn", text=message, exc_info=sys.exc_info()[1])

    info = warning = debug
    exception = critical = error


class Http1Only(H11Protocol):
    """HTTP/1.1 only: requests to upgrade to HTTP/2 or a WebSocket get a plain response (RFC 9110, section 7.8)."""

    async def _check_protocol(self, event: h11.Request) -> None:
        pass

    async def _create_stream(self, request: h11.Request) -> None:
        fields = [(name, value) for name, value in request.headers if name != b"upgrade"]
        plain = h11.Request(
            method=request.method, target=request.target, headers=fields, http_version=request.http_version
        )
        await super()._create_stream(plain)


class ApiConnection(TCPServer):
    """One connection: that of Hypercorn, with another protocol."""

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        try:
            async with TaskGroup() as task_group:
                self._task_group = task_group
                self.protocol = Http1Only(  # type: ignore[assignment]
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState({}),
                    False,
                    None,
                    None,
                    self.protocol_send,
                )
                await self.idle_task.restart(task_group, self._idle_timeout)
                await self._read_data()
                await self.idle_task.stop()  # the client sends nothing more: admit another connection
        except OSError:
            pass
        finally:
            await self._close()


class BoundedStream:
    """A client's stream for Hypercorn, in which every wait has a timeout.

    ``aclose`` ends reading and sending; ``close`` closes the socket.

    Attributes:
        scope: of everything that is done for the client; cancelled when it reads nothing more, or is evicted.
    """

    def __init__(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        self.scope = scope
        self._stream = stream
        self._is_ended = False
        self._receiving = trio.CancelScope()

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        """Return the next bytes from the client.

        Raises:
            ClosedResourceError, BrokenResourceError: reading has ended.
        """
        if not self._is_ended:
            with trio.CancelScope() as self._receiving:
                return await self._stream.receive_some(max_bytes)
        raise trio.ClosedResourceError

    async def send_all(self, data: bytes) -> None:
        """Send bytes to the client.

        Raises:
            ClosedResourceError, BrokenResourceError: the client reads no more, or not in time.
        """
        if self._is_ended:
            raise trio.ClosedResourceError
        is_sent = False
        try:
            with trio.move_on_after(SEND_SECONDS):
                await self._stream.send_all(data)
                is_sent = True
        finally:
            if not is_sent:  # requests that the client sent after it get no response
                self._is_ended = True
                self.scope.cancel()
        if not is_sent:
            raise trio.BrokenResourceError

    async def send_eof(self) -> None:
        """Close the sending side of the connection."""
        if not self._is_ended:
            with trio.move_on_after(SEND_SECONDS):
                await self._stream.send_eof()

    async def aclose(self) -> None:
        """End reading and sending on this stream."""
        self._is_ended = True
        self._receiving.cancel()
        await trio.lowlevel.checkpoint()

    async def linger(self) -> None:
        """Read for a while from a client that still sends: RFC 9112, section 9.6."""
        with trio.move_on_after(LINGER_SECONDS), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._stream.receive_some(1 << 16):  # noqa: ASYNC110 - no event: it is a pace
                await trio.sleep(LINGER_PAUSE_SECONDS)

    def close(self) -> None:
        """Close the socket of the client."""
        self._is_ended = True
        self._stream.socket.close()
