"""A request's claim on the app: a lease on the live generation, and a connection to it."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Protocol

from rainbowd.broadcast import Broadcast
from rainbowd.http1 import Refusal
from rainbowd.proxy.failures import AppStoppedReading
from rainbowd.proxy.fiber import become_task
from rainbowd.proxy.hold import HeldRequest, Interruptible, unavailable
from rainbowd.proxy.upstream import REFUSED

if TYPE_CHECKING:
    from rainbowd.proxy.context import Context
    from rainbowd.proxy.upstream import Upstream
    from rainbowd.roster import Generation, LeaseHolder

_QUEUE_FULL_SECONDS = 0.01


class AnswerClock(Protocol):
    """The time limits of an exchange, as the claim needs them."""

    def start_response_timeout(self) -> None:
        """Start the time limit for the app's response."""

    def check_client_end(self) -> None:
        """Handle a client that has already closed its connection, before a wait."""


class Claim:
    """The lease and the app connection of one request.

    Args:
        holder: holds the lease.
        context: has the roster, the pool and the settings that the request is served with.

    Attributes:
        generation: the generation that is leased, or was leased last.
        upstream: the connection to the app, while the request uses it.
        waits_on: the object at which the exchange can be interrupted.
    """

    __slots__ = ("_context", "_holder", "_is_leased", "_pool", "_settings", "generation", "upstream", "waits_on")

    def __init__(self, holder: LeaseHolder, context: Context) -> None:
        self.generation: Generation | None = None
        self.upstream: Upstream | None = None
        self.waits_on: Interruptible | None = None
        self._holder = holder
        self._context = context
        self._settings = context.settings
        self._pool = context.pool
        self._is_leased = False

    def take_pooled(self) -> Upstream | None:
        """Lease the live generation, and return an idle connection to it; None if either is missing."""
        generation = self._context.roster.lease(self._holder)
        if generation is None:
            return None
        self.generation, self._is_leased = generation, True
        return self._take_from_pool(generation)

    async def connect(self, clock: AnswerClock, *, pooled: bool) -> Upstream:
        """Return a connection to the live generation, waiting for one to become live if a launch is due.

        Args:
            clock: has the time limits. It is not stored here, because it refers to this claim: a reference cycle.
            pooled: whether an idle connection may be used.

        Raises:
            Refusal: no connection can be made.
        """
        waiting: HeldRequest | None = None
        refused_by: Generation | None = None
        while True:
            generation = await self._lease(clock, waiting)
            upstream = self._take_from_pool(generation) if pooled else None
            if upstream is not None:
                return upstream
            try:
                return await self._open(clock, generation)
            except REFUSED:
                self.disconnect()
                if not self._settings.managed:
                    raise Refusal(502, "The app refused the connection.") from None
                if generation is not refused_by:
                    refused_by = generation
                    generation.count_error("connection refused")
                generation.on_connect_refused(time.monotonic())
                self._end_lease()
                waiting = waiting or self._new_wait()
                waiting.was_refused = True

    def return_to_pool(self) -> None:
        """Return the app's connection to the pool, for another request."""
        if self.upstream is not None:
            self._pool.give_back(self.upstream)
            self.upstream = self.waits_on = None  # a later interruption must not reach the next user

    def move(self, generation: Generation, upstream: Upstream) -> None:
        """Use another connection and another lease, which the caller has taken; the present ones end.

        Args:
            generation: that the holder has a lease on.
            upstream: a connection to it.
        """
        self.disconnect()
        if self._is_leased:
            self._end_lease()
        self.generation, self._is_leased = generation, True
        self.upstream, self.waits_on = upstream, upstream.wire

    def disconnect(self) -> None:
        """Close the app's connection, if there is one."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.wire.close()

    def release(self, *, aborted: bool) -> None:
        """Close the connection and end the lease.

        Args:
            aborted: whether the request was not sent completely; then the app is notified at once.
        """
        if self.upstream is not None:
            if aborted:
                self.upstream.wire.abort()
            self.disconnect()
        if self._is_leased:
            self._end_lease()
        # An exception that was never raised may be kept there, whose traceback refers to our frames: a cycle.
        self.waits_on = None

    def require_upstream(self) -> Upstream:
        """Return the app's connection.

        Raises:
            AppStoppedReading: the response has ended, and the connection was released.
        """
        if self.upstream is None:
            raise AppStoppedReading
        return self.upstream

    def raise_interruption(self) -> None:
        """Raise a pending interruption of the app's connection, if there is one."""
        if self.upstream is not None:
            self.upstream.wire.raise_interruption()

    def become_tunnel(self) -> None:
        """Turn the lease into that of a tunnel."""
        assert self.generation is not None
        self.generation.become_tunnel(self._holder)

    async def _lease(self, clock: AnswerClock, waiting: HeldRequest | None) -> Generation:
        """Lease the live generation, or keep the lease of an earlier attempt."""
        if self._is_leased and self.generation is not None:
            return self.generation
        context = self._context
        generation = context.roster.lease(self._holder) if waiting is None else None
        if generation is None:
            self.waits_on = waiting = waiting or self._new_wait()
            clock.check_client_end()
            await become_task(context.reactor)
            generation = await context.held_requests.lease(self._holder, waiting, self._settings.hold)
        self.generation, self._is_leased = generation, True
        return generation

    def _new_wait(self) -> HeldRequest:
        return HeldRequest(self._context.admission.hold_seconds(self._settings.hold.timeout))

    def _take_from_pool(self, generation: Generation) -> Upstream | None:
        upstream = self._pool.take(generation)
        if upstream is not None:
            self.upstream = upstream
            self.waits_on = upstream.wire
        return upstream

    async def _open(self, clock: AnswerClock, generation: Generation) -> Upstream:
        """Open a new connection. A failed connect can be repeated, because nothing was sent.

        Raises:
            ConnectionRefusedError, FileNotFoundError: nothing listens on the address.
            Refusal: the connection failed for another reason.
        """
        clock.start_response_timeout()
        try:
            while (upstream := self._pool.open(generation)) is None:
                await self._wait_for_room(clock)
            self.upstream = upstream  # from here on ``release`` closes it in every case
            self.waits_on = upstream.wire
            await upstream.wait_connected()
        except REFUSED:
            raise
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                raise unavailable("The server has no file descriptors left.") from None
            raise Refusal(502, "The app cannot be reached.") from None
        generation.on_connect_accepted()
        return upstream

    async def _wait_for_room(self, clock: AnswerClock) -> None:
        """Wait a moment, because the app's queue of connections is full."""
        self.waits_on = waiting = HeldRequest()
        clock.check_client_end()
        await become_task(self._context.reactor)
        await waiting.wait(Broadcast(), _QUEUE_FULL_SECONDS)

    def _end_lease(self) -> None:
        assert self.generation is not None
        self._is_leased = False
        self.generation.release_lease(self._holder)
