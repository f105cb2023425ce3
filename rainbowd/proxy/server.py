"""The proxy as a whole: accepting, serving, and stopping without dropping a request."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

import trio

from rainbowd.http1 import OtherProtocol, Refusal
from rainbowd.log import get_logger
from rainbowd.log import request as log_request
from rainbowd.proxy.acceptor import Acceptor
from rainbowd.proxy.admission import Admission
from rainbowd.proxy.app_errors import SERVER_ERROR, count_app_error
from rainbowd.proxy.deadlines import Deadlines
from rainbowd.proxy.error_pages import ErrorPages
from rainbowd.proxy.error_response import CLIENT_GONE
from rainbowd.proxy.exchange import AppBroke, ClientGone
from rainbowd.proxy.fiber import Fibers
from rainbowd.proxy.gc_tuning import rare_collections
from rainbowd.proxy.hold import HeldRequests
from rainbowd.proxy.hub import Hub
from rainbowd.proxy.pipes import Pipes
from rainbowd.proxy.upstream import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rainbowd.config import Drain
    from rainbowd.listeners import Listener
    from rainbowd.proxy.connection import Connection
    from rainbowd.proxy.exchange import Exchange
    from rainbowd.proxy.settings import ProxySettings
    from rainbowd.roster import Roster, Traffic

_TRIM_SECONDS = 0.1
_CUT_SECONDS = 1.0
"""How long to wait for the requests that are cut at the end of the time to stop."""
TUNNELS_CLOSE_SECONDS = 5.0
"""Over how long the tunnels are closed after a handover."""
_OTHER_PROTOCOL_SECONDS = 60.0
"""The shortest interval of warnings about clients that do not speak HTTP: scanners send such bytes all day."""
_APP_FAILED = frozenset({502, 504})

log = get_logger()


class Server:
    """The proxy between the clients and the live generation.

    Args:
        roster: leases are taken from its live generation.
        settings: the settings of new requests.

    Attributes:
        settings: the settings of new requests; can be replaced at any time.
        closes_after_response: whether every connection is closed after its next response.
        is_stopping: whether idle connections are closed and no tunnel is opened.
        traffic: counts every exchange; None if nobody reads the counters.
        admission: closes the site for maintenance or a pause.
        error_pages: the pages that browsers get in place of our own answers.
        retries: the number of pooled connections that turned out to be dead when used.
    """

    def __init__(self, roster: Roster, settings: ProxySettings) -> None:
        self.roster = roster
        self.settings = settings
        self.closes_after_response = False
        self.is_stopping = False
        self.traffic: Traffic | None = None
        self.retries = 0
        self.hub = Hub()
        self.pool = Pool(self.hub, follow_links=not settings.managed)
        self.pipes = Pipes()
        self.admission = Admission(roster)
        self.error_pages = ErrorPages()
        self.held_requests = HeldRequests(roster, self.admission)
        self.connections: set[Connection] = set()
        self.rejected: set[Connection] = set()
        self.deadlines = Deadlines()
        self.fibers: Fibers
        self._all_closed = trio.Event()
        self._reported_other_protocol_at = -math.inf
        self._drain: Drain | None = None
        self._stop_scope = trio.CancelScope()
        roster.observe(self.pool.close_superseded)

    async def serve(
        self,
        listeners: Sequence[Listener],
        stop: trio.Event,
        stop_seconds: float,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve until ``stop`` is set; then finish the requests in flight.

        Args:
            listeners: the listening sockets, which are closed after ``stop``.
            stop: set to stop accepting.
            stop_seconds: how long the requests in flight may take, unless ``hand_over`` was called before.
            task_status: reports that clients can connect.
        """
        with rare_collections(), contextlib.closing(self.pool), contextlib.closing(self.pipes):
            async with trio.open_nursery() as services:  # outlives the fibers and tasks that need it
                services.start_soon(self.hub.run)
                services.start_soon(self.deadlines.run)
                services.start_soon(self._trim_pool)
                async with trio.open_nursery() as tasks:
                    with contextlib.closing(Fibers(self.hub, tasks)) as self.fibers:
                        await self._accept_until(stop, listeners, task_status)
                        with self._stop_scope:
                            await self._finish(stop_seconds)
                        self.stop_now()
                        with trio.move_on_after(_CUT_SECONDS):
                            await self._wait_until_served()
                for connection in list(self.connections | self.rejected):
                    connection.close()
                services.cancel_scope.cancel()

    async def _accept_until(
        self, stop: trio.Event, listeners: Sequence[Listener], task_status: trio.TaskStatus[None]
    ) -> None:
        """Accept until ``stop`` is set, and then accept the connections in the queues."""
        acceptor = Acceptor(self)
        async with trio.open_nursery() as accepting:
            for listener in listeners:
                accepting.start_soon(acceptor.accept, listener)
            task_status.started()
            await stop.wait()
            accepting.cancel_scope.cancel()
        for listener in listeners:
            if not listener.is_shared:
                acceptor.accept_queued(listener)
            listener.close()

    def hand_over(self, rules: Drain) -> None:
        """Finish as the old agent of an upgrade, once the caller has set ``stop``; the new agent accepts from now on.

        An idle connection gets one more response, because its client may be sending a request.

        Args:
            rules: requests and idle connections end after ``timeout`` seconds, tunnels after ``tunnels`` seconds.
        """
        self._drain = rules

    def stop(self, seconds: float) -> None:
        """Finish the requests in flight within ``seconds``; close tunnels and idle connections at once."""
        self._begin_stop()
        self._stop_scope.deadline = min(self._stop_scope.deadline, trio.current_time() + seconds)

    def close_idle(self) -> None:
        """Close the connections that are between two requests."""
        for connection in list(self.connections):
            if not connection.tunnel:
                connection.close_if_idle()

    async def _finish(self, stop_seconds: float) -> None:
        """Wait for the connections that are open, within their time limits."""
        rules, self.closes_after_response = self._drain, True
        if rules is None:
            self.stop(stop_seconds)
            await self._wait_until_served()
            return
        async with trio.open_nursery() as waiting:
            waiting.start_soon(self._cancel_when_served, waiting.cancel_scope)
            async with trio.open_nursery() as ending:
                ending.start_soon(self._end_requests, rules.timeout)
                ending.start_soon(self._end_tunnels, rules.tunnels)
            waiting.cancel_scope.cancel()

    async def _cancel_when_served(self, scope: trio.CancelScope) -> None:
        await self._wait_until_served()
        scope.cancel()

    async def _end_requests(self, seconds: float) -> None:
        await trio.sleep(seconds)
        for connection in list(self.connections):
            if not connection.tunnel:
                connection.close_if_idle()
                connection.cut()

    async def _end_tunnels(self, seconds: float) -> None:
        """Close the tunnels one by one, so that their clients do not all reconnect at once."""
        await trio.sleep(seconds)
        tunnels = [connection.tunnel for connection in self.connections if connection.tunnel]
        for tunnel in tunnels:
            tunnel.close()
            await trio.sleep(TUNNELS_CLOSE_SECONDS / len(tunnels))

    def stop_now(self) -> None:
        """End every exchange and tunnel now."""
        for connection in list(self.connections):
            connection.cut()

    def on_exchange(self, connection: Connection, exchange: Exchange, error: Exception | None) -> None:
        """Count and log an exchange that has ended.

        Args:
            connection: the client's connection.
            exchange: the exchange.
            error: why it failed; None if the complete response was relayed.
        """
        if error is not None or exchange.status >= SERVER_ERROR:
            count_app_error(exchange, error)
        gone = isinstance(error, ClientGone)
        if self.traffic is not None:
            if error is None:
                seconds = time.monotonic() - exchange.started_at
                self.traffic.count_response(exchange.status, exchange.sent_bytes, seconds)
            elif isinstance(error, Refusal) and exchange.is_complete:
                self.traffic.count_refusal(exchange.status)
            else:
                self.traffic.count_cut(exchange.status, exchange.sent_bytes, by_client=gone)
        app_failed = isinstance(error, AppBroke) or (isinstance(error, Refusal) and error.status in _APP_FAILED)
        if not (self.settings.access or gone or app_failed):
            return
        fields = {
            "method": exchange.request.method.decode("latin-1"),
            "target": exchange.request.target.decode("latin-1"),
            "status": CLIENT_GONE if gone else exchange.status,
            "bytes": exchange.sent_bytes,
            "seconds": round(time.monotonic() - exchange.started_at, 6),
            "generation": exchange.generation.id if exchange.generation is not None else None,
            "request_id": exchange.request.request_id.decode("latin-1"),
            "client": connection.peer.decode() if connection.peer else "unix",
        }
        if self.settings.access:
            log_request(fields)
        if app_failed:
            reason = error.cause if isinstance(error, Refusal) else str(error)
            log.warning("the app failed a request", reason=reason, **fields)
        elif gone:
            log.debug("the client closed the connection", **fields)

    def on_refusal(self, connection: Connection, refusal: Refusal) -> None:
        """Count and log a request that was refused before it could be read."""
        if self.traffic is not None:
            self.traffic.count_refusal(refusal.status)
        client = connection.peer.decode() if connection.peer else "unix"
        if self.settings.access:
            log_request({"status": refusal.status, "reason": refusal.text, "client": client})
        if isinstance(refusal, OtherProtocol):
            self._report_other_protocol(refusal, client)

    def _report_other_protocol(self, refusal: OtherProtocol, client: str) -> None:
        now_seconds = time.monotonic()
        if now_seconds - self._reported_other_protocol_at > _OTHER_PROTOCOL_SECONDS:
            self._reported_other_protocol_at = now_seconds
            log.warning("a client does not speak HTTP", reason=refusal.text, client=client)

    def remove(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        self.deadlines.unwatch(connection)
        self.connections.discard(connection)
        self.rejected.discard(connection)
        if self.closes_after_response and not self.connections and not self.rejected:
            self._all_closed.set()

    # --- limits and the end ---------------------------------------------------------------------------------------

    async def _trim_pool(self) -> None:
        while True:
            await trio.sleep(_TRIM_SECONDS)
            self.pool.close_expired(time.monotonic())

    async def _wait_until_served(self) -> None:
        if self.connections or self.rejected:
            await self._all_closed.wait()

    def _begin_stop(self) -> None:
        self.closes_after_response = self.is_stopping = True
        self.held_requests.is_stopping = True
        self.held_requests.wake()
        for connection in list(self.connections):
            if connection.tunnel:
                connection.tunnel.close()
            else:
                connection.close_if_idle()
