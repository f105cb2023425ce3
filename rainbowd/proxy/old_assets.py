"""Files of another release: what the chosen generation does not have is requested from the other running ones.

A browser that shows a page of the previous release loads that page's hashed files after the switch.  The first answer
is held back unread meanwhile, so that it can still be passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.http1 import BadResponse, read_response
from rainbowd.http1.response import SWITCHING_PROTOCOLS
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rainbowd.http1 import RequestHead, ResponseHead
    from rainbowd.proxy.claim import Claim
    from rainbowd.proxy.client import Client
    from rainbowd.proxy.context import Context
    from rainbowd.proxy.exchange_watch import ExchangeWatch
    from rainbowd.proxy.upstream import Upstream
    from rainbowd.roster import Generation

NOT_FOUND, GONE = 404, 410
GENERATIONS_MAX = 3
SEARCH_SECONDS = 5.0
"""How long all other generations together may take: a slow one must not delay a 404 for long."""

_RUNNING = frozenset({State.CANARY, State.LIVE, State.STANDBY, State.DRAINING})
_METHODS = frozenset({b"GET", b"HEAD"})


class _TooSlow(Exception):
    """The other generations have taken too long."""


class OldAssets:
    """The search of one exchange for a file that its generation does not have.

    Args:
        client: the client's connection, which has the time limit and holds the leases.
        claim: has the first answer's connection, and gets the one of a better answer.
        watch: can interrupt the search.
        context: has the generations and the pool.
    """

    __slots__ = ("_claim", "_client", "_context", "_watch")

    def __init__(self, client: Client, claim: Claim, watch: ExchangeWatch, context: Context) -> None:
        self._client = client
        self._claim = claim
        self._watch = watch
        self._context = context

    async def replace(self, request: RequestHead, first: ResponseHead) -> ResponseHead:
        """Return the answer to pass on: ``first``, or the answer of a generation that has the file.

        Args:
            request: the request's head.
            first: the answer of the chosen generation, with a status of 404 or more.
        """
        assets = self._context.settings.assets
        is_missing = first.status in {NOT_FOUND, GONE} and request.method in _METHODS and request.is_replayable
        if not assets or not is_missing or not request.target.startswith(assets):
            return first
        waits_on = self._claim.waits_on
        self._client.arm(SEARCH_SECONDS, lambda: self._watch.interrupt(_TooSlow()))
        try:
            for generation in others(self._context.roster.generations.values(), self._claim.generation):
                found = await self._request_from(generation, request)
                if found is not None:
                    return found
        except _TooSlow:
            self._client.wire.clear_interruption()  # it may have been raised at both
        finally:
            self._client.disarm()
            if self._claim.waits_on is None:
                self._claim.waits_on = waits_on
        self._watch.check_client_end()
        return first

    async def _request_from(self, generation: Generation, request: RequestHead) -> ResponseHead | None:
        """Request the file from ``generation``; None if it does not have it, or cannot answer."""
        upstream: Upstream | None = None
        generation.lease_again(self._client)
        is_found = False
        try:
            upstream = self._context.pool.open(generation)
            if upstream is None:
                return None
            self._claim.waits_on = upstream.wire
            await upstream.wait_connected()
            await upstream.wire.send(request.serialise(peer=self._client.peer))
            response = await _read_final_head(upstream)
            is_found = response.status not in {NOT_FOUND, GONE, SWITCHING_PROTOCOLS}
            if is_found:
                self._claim.move(generation, upstream)
                return response
        except (OSError, BadResponse):
            pass
        finally:
            if not is_found:
                self._claim.waits_on = None
                generation.release_lease(self._client)
                if upstream is not None:
                    upstream.wire.close()
        return None


def others(generations: Iterable[Generation], chosen: Generation | None) -> list[Generation]:
    """Return the generations to request a file from: the newest of those that run, without the chosen one."""
    running = [one for one in generations if one.state in _RUNNING and one is not chosen]
    return sorted(running, key=lambda one: one.id, reverse=True)[:GENERATIONS_MAX]


async def _read_final_head(upstream: Upstream) -> ResponseHead:
    """Return the final response's head; what follows it stays in the buffer of ``upstream``.

    Raises:
        OSError, BadResponse: there is none.
    """
    buffer, searched = b"", 0
    while True:
        found = read_response(buffer, searched) if buffer else None
        if found is None:
            searched = len(buffer)
            data = await upstream.wire.recv()
            if not data:
                raise BadResponse("the connection was closed")
            buffer += data
            continue
        response, end = found
        buffer, searched = buffer[end:], 0
        if not response.is_interim:
            upstream.buffer = buffer
            return response
