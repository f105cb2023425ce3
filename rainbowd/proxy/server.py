"""The proxy as a whole: accepting, serving, and stopping without dropping a request."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import trio

from rainbowd.proxy.acceptor import Acceptor
from rainbowd.proxy.context import Context
from rainbowd.proxy.fiber import Fibers
from rainbowd.proxy.gc_tuning import rare_collections
from rainbowd.roster import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rainbowd.config import Drain
    from rainbowd.listeners import Listener
    from rainbowd.proxy.settings import ProxySettings
    from rainbowd.roster import Roster

_TRIM_SECONDS = 0.1
_CUT_SECONDS = 1.0
"""How long to wait for the requests that are cut at the end of the time to stop."""


class Server:
    """The proxy between the clients and the live generation.

    Args:
        roster: leases are taken from its live generation.
        settings: the settings of new requests.

    Attributes:
        context: what all connections share: the settings, the services and the counters.
    """

    def __init__(self, roster: Roster, settings: ProxySettings) -> None:
        self.context = Context(roster, settings)
        self._drain: Drain | None = None
        self._stop_scope = trio.CancelScope()
        roster.observe_serving(self.context.pool.close_superseded)

    def configure(self, settings: ProxySettings) -> None:
        """Serve new requests with ``settings``."""
        self.context.settings = settings

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
        context = self.context
        with rare_collections(), contextlib.closing(context.pool), contextlib.closing(context.pipes):
            async with trio.open_nursery() as services:  # outlives the fibers and tasks that need it
                services.start_soon(context.reactor.run)
                services.start_soon(context.deadlines.run)
                services.start_soon(self._trim_pool)
                async with trio.open_nursery() as tasks:
                    with contextlib.closing(Fibers(context.reactor, tasks)) as context.fibers:
                        await self._accept_until(stop, listeners, task_status)
                        with self._stop_scope:
                            await self._finish(stop_seconds)
                        self.stop_now()
                        with trio.move_on_after(_CUT_SECONDS):
                            await context.clients.until_empty()
                for client in [*context.clients.served, *context.clients.rejected]:
                    client.close()
                services.cancel_scope.cancel()

    async def _accept_until(
        self, stop: trio.Event, listeners: Sequence[Listener], task_status: trio.TaskStatus[None]
    ) -> None:
        """Accept until ``stop`` is set, and then accept the connections in the queues."""
        acceptor = Acceptor(self.context)
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
        for client in self.context.clients.exchanging:
            client.close_if_idle()

    async def _finish(self, stop_seconds: float) -> None:
        """Wait for the connections that are open, within their time limits."""
        rules, self.context.closes_after_response = self._drain, True
        if rules is None:
            self.stop(stop_seconds)
            await self.context.clients.until_empty()
            return
        async with trio.open_nursery() as waiting:
            waiting.start_soon(self._cancel_when_served, waiting.cancel_scope)
            async with trio.open_nursery() as ending:
                ending.start_soon(self._end_requests, rules.timeout)
                ending.start_soon(self._end_tunnels, rules.tunnels)
            waiting.cancel_scope.cancel()

    async def _cancel_when_served(self, scope: trio.CancelScope) -> None:
        await self.context.clients.until_empty()
        scope.cancel()

    async def _end_requests(self, seconds: float) -> None:
        await trio.sleep(seconds)
        for client in self.context.clients.exchanging:
            client.close_if_idle()
            client.cut()

    async def _end_tunnels(self, seconds: float) -> None:
        await trio.sleep(seconds)
        for batch, pause_seconds in in_batches(self.context.clients.tunnels):
            for tunnel in batch:
                tunnel.cut()
            await trio.sleep(pause_seconds)

    def stop_now(self) -> None:
        """End every exchange and tunnel now."""
        for client in list(self.context.clients.served):
            client.cut()

    async def _trim_pool(self) -> None:
        while True:
            await trio.sleep(_TRIM_SECONDS)
            self.context.pool.close_expired(time.monotonic())

    def _begin_stop(self) -> None:
        context = self.context
        context.closes_after_response = context.is_stopping = True
        context.held_requests.stop()
        for tunnel in context.clients.tunnels:
            tunnel.cut()
        for client in context.clients.exchanging:
            client.close_if_idle()
