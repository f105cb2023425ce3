"""The journal as a stream of server-sent events: the HTML standard, section 9.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from starlette.requests import Request

from rainbowd.api.problems import problem
from rainbowd.errors import RainbowdError
from rainbowd.log import get_logger
from rainbowd.report.tail import Line, Tail, parse_id

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from rainbowd.api.backend import ApiBackend

STREAMS_MAX = 50
KEEP_ALIVE_SECONDS = 15.0
"""Shorter than the idle timeouts of proxies on the way."""
RETRY_MS = 1000

log = get_logger()


class EventStreams:
    """The open streams; they end when ``stop`` is set, so that clients reconnect to the next agent."""

    def __init__(self, backend: ApiBackend, stop: trio.Event) -> None:
        self._backend = backend
        self._stop = stop
        self._free = trio.CapacityLimiter(STREAMS_MAX)
        self._disk = trio.CapacityLimiter(2)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request with a stream."""
        await self._answer(Request(scope), receive, send)

    async def _answer(self, request: Request, receive: Receive, send: Send) -> None:
        last = request.headers.get("last-event-id")
        try:
            after = parse_id(last) if last else None
        except ValueError as error:
            refusal = problem(400, f"Last-Event-ID: found something else; expected {error}.")
            await refusal(request.scope, receive, send)
            return
        try:
            self._free.acquire_on_behalf_of_nowait(request)
        except trio.WouldBlock:
            refusal = problem(503, f"{STREAMS_MAX} streams are open already.", headers={"retry-after": "5"})
            await refusal(request.scope, receive, send)
            return
        try:
            tail = await trio.to_thread.run_sync(Tail, self._backend.state_dir, after, limiter=self._disk)
            try:
                headers = [(b"content-type", b"text/event-stream")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                if request.method != "HEAD":
                    await self._stream(tail, receive, send)
                await send({"type": "http.response.body", "body": b""})
            finally:
                tail.close()
        finally:
            self._free.release_on_behalf_of(request)

    async def _stream(self, tail: Tail, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
            await self._follow(tail, send)
            nursery.cancel_scope.cancel()

    async def _follow(self, tail: Tail, send: Send) -> None:
        """Send the events that exist, then new ones, until the server stops."""
        await _send(send, f"retry: {RETRY_MS}\n\n")
        while not self._stop.is_set():
            written = self._backend.journal_written()  # before reading: an event written meanwhile is not missed
            try:
                lines = await trio.to_thread.run_sync(tail.read, limiter=self._disk)
            except (RainbowdError, OSError) as error:
                log.warning("cannot read the journal for a client of the API", error=str(error))
                return
            if lines:
                await _send(send, "".join(map(_event, lines)))
            elif not await _either(written, self._stop):
                await _send(send, ": keep-alive\n\n")


def _event(line: Line) -> str:
    return f"id: {line.id}\nevent: {line.event}\ndata: {line.text}\n\n"


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _either(one: trio.Event, other: trio.Event) -> bool:
    """Wait until one of two events is set; return False after ``KEEP_ALIVE_SECONDS``."""

    async def wait(event: trio.Event) -> None:
        await event.wait()
        nursery.cancel_scope.cancel()

    with trio.move_on_after(KEEP_ALIVE_SECONDS) as waiting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, one)
            nursery.start_soon(wait, other)
    return not waiting.cancelled_caught


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    """Cancel ``scope`` when the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
