"""A request's way to the app: a lease on the live generation, and a connection to it."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Protocol

import trio

from rainbowd.http1 import Refusal
from rainbowd.proxy.fiber import become_task
from rainbowd.proxy.hold import HeldRequest, Interruptible, nothing_live
from rainbowd.proxy.upstream import REFUSED

if TYPE_CHECKING:
    from rainbowd.proxy.connection import Connection
    from rainbowd.proxy.settings import ProxySettings
    from rainbowd.proxy.upstream import Upstream
    from rainbowd.roster import Generation

_QUEUE_FULL_SECONDS = 0.01


class AnswerClock(Protocol):
    """Who is told before a wait."""

    def start_response_timeout(self) -> None:
        """It is the app's turn."""

    def check_client_end(self) -> None:
        """The client may have left while nobody looked."""


class Claim:
    """What one request holds of a generation.

    Args:
        connection: the client's, which holds the lease.
        settings: those of the request.
        clock: the exchange, which knows how long to wait and for whom.

    Attributes:
        generation: whose lease is held, or was held last.
        upstream: the connection, while it is the request's.
        waits_on: where the exchange is to be interrupted.
    """

    __slots__ = (
        "_clock",
        "_connection",
        "_leased",
        "_pool",
        "_settings",
        "generation",
        "upstream",
        "waits_on",
    )

    def __init__(
        self,
        connection: Connection,
        settings: ProxySettings,
        clock: AnswerClock,
    ) -> None:
        self.generation: Generation | None = None
        self.upstream: Upstream | None = None
        self.waits_on: Interruptible | None = None
        self._connection = connection
        self._settings = settings
        self._clock = clock
        self._pool = connection.server.pool
        self._leased = False

    def take_pooled(self) -> Upstream | None:
        """An idle connection to the live generation, at once, or None where there is none."""
        generation = self._connection.server.roster.lease(self._connection)
        if generation is None:
            return None
        self.generation, self._leased = generation, True
        return self._take_from_pool(generation)

    async def connect(self, *, pooled: bool) -> Upstream:
        """A connection to the live generation, waiting for one to be live where that may come.

        Args:
            pooled: an idle connection will do.

        Raises:
            Refusal: there is none to be had.
        """
        waiting: HeldRequest | None = None
        while True:
            generation = await self._lease(waiting)
            upstream = self._take_from_pool(generation) if pooled else None
            if upstream is not None:
                return upstream
            try:
                return await self._open(generation)
            except REFUSED:
                self.disconnect()
                if not self._settings.managed:
                    raise Refusal(502, "The app refused the connection.") from None
                generation.on_connect_refused(time.monotonic())
                self._end_lease()
                waiting = waiting or HeldRequest(self._settings.hold.timeout)
                waiting.was_refused = True

    def return_to_pool(self) -> None:
        """The app's connection has done its part, and may serve another request."""
        if self.upstream is not None:
            self._pool.give_back(self.upstream)
            self.upstream = self.waits_on = None  # whoever is interrupted from here on, it is not its next user

    def disconnect(self) -> None:
        """Close the app's connection."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.wire.close()

    def release(self, *, aborted: bool) -> None:
        """Give everything back; of a request that was not sent whole the app hears at once."""
        if self.upstream is not None:
            if aborted:
                self.upstream.wire.abort()
            self.disconnect()
        if self._leased:
            self._end_lease()
        # Together with what holds us they would be left to the garbage collector: with the exchange, and with an
        # exception that nobody waited for, whose traceback has its frames.
        del self._clock
        self.waits_on = None

    async def _lease(self, waiting: HeldRequest | None) -> Generation:
        """A lease on the live generation; kept if there is one already, as for a second try."""
        if self._leased and self.generation is not None:
            return self.generation
        server = self._connection.server
        generation = server.roster.lease(self._connection) if waiting is None else None
        if generation is None:
            self.waits_on = waiting = waiting or HeldRequest(self._settings.hold.timeout)
            self._clock.check_client_end()
            await become_task(server.hub)
            generation = await server.held_requests.lease(self._connection, waiting, self._settings.hold)
        self.generation, self._leased = generation, True
        return generation

    def _take_from_pool(self, generation: Generation) -> Upstream | None:
        upstream = self._pool.take(generation)
        if upstream is not None:
            self.upstream = upstream
            self.waits_on = upstream.wire
        return upstream

    async def _open(self, generation: Generation) -> Upstream:
        """Connect afresh; every connect that fails before a byte was sent may be tried again.

        Raises:
            ConnectionRefusedError, FileNotFoundError: nothing listens there.
        """
        self._clock.start_response_timeout()
        try:
            while (upstream := self._pool.open(generation)) is None:
                await self._wait_for_room()
            self.upstream = upstream  # from here on ``end`` closes it, whatever happens
            self.waits_on = upstream.wire
            await upstream.wire.wait_connected()
        except REFUSED:
            raise
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                raise nothing_live("The server has no descriptors left.") from None
            raise Refusal(502, "The app cannot be reached.") from None
        generation.on_connect_accepted()
        return upstream

    async def _wait_for_room(self) -> None:
        """The app's queue is full: look again in a moment."""
        self.waits_on = waiting = HeldRequest()
        self._clock.check_client_end()
        await become_task(self._connection.server.hub)
        await waiting.wait(trio.Event(), _QUEUE_FULL_SECONDS)

    def _end_lease(self) -> None:
        assert self.generation is not None
        self._leased = False
        self.generation.release_lease(self._connection)
