"""The guard of the API: it admits requests with the token, and limits what each client can use.

The API runs in the proxy's event loop.  So requests without the token are answered one after another, bodies are small
and must arrive in time, and an exception ends one request and is logged.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import trio

from rainbowd.api.problems import problem
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rainbowd.api.token import Token

BODY_BYTES = 64 << 10
BODY_SECONDS = 10.0
PACE_SECONDS = 0.05
"""Between two answers to requests without the token, of all clients together: at most twenty a second."""

COMMON_FIELDS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
LAST = {"connection": "close"}

log = get_logger()


class Guard:
    """An ASGI application in front of another.

    Args:
        app: the application that is guarded.
        token: required for every request except a GET of the page.
    """

    def __init__(self, app: ASGIApp, token: Token) -> None:
        self._app = app
        self._token = token
        self._next_turn = -math.inf
        self._turns = trio.StrictFIFOLock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request, and pass it on to the app if it is allowed."""
        if scope["type"] != "http":  # no WebSockets, and no lifespan events
            await send({"type": "websocket.close"})
            return
        sending = _Sending(send)
        try:
            await self._serve(scope, receive, sending)
        except _Gone:
            pass
        except Exception as bug:
            log.error("bug: a request to the API failed", method=scope["method"], path=scope["path"], exc_info=bug)
            if not sending.has_begun:
                await _answer(problem(500, "The agent failed; see its log.", headers=LAST), scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._token.admits([value for name, value in scope["headers"] if name == b"authorization"]):
            with scope.get("kept", nullcontext)():
                await self._serve_admitted(scope, receive, send)
        elif not await self._wait_for_turn(receive):
            return
        elif scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}:
            await _answer(self._app, scope, receive, send)
        else:
            headers = {"www-authenticate": 'Bearer realm="rainbowd"', **LAST}
            refusal = problem(401, "This request needs the header Authorization: Bearer TOKEN.", headers=headers)
            await _answer(refusal, scope, receive, send)

    async def _serve_admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: bytes | None = None
        with trio.move_on_after(BODY_SECONDS) as waiting:
            body = await _read_body(receive)
        if waiting.cancelled_caught:
            await _answer(problem(408, "The request body did not arrive in time.", headers=LAST), scope, receive, send)
        elif body is None:
            refusal = problem(413, f"The request body must not be larger than {BODY_BYTES} bytes.", headers=LAST)
            await _answer(refusal, scope, receive, send)
        else:
            await self._app(scope, _Receiving(body, receive), send)

    async def _wait_for_turn(self, receive: Receive) -> bool:
        """Wait for the next turn; return False if the client leaves before it, so that another one gets it."""
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                while not (message := await receive()).get("more_body"):  # the body is not read
                    if message["type"] != "http.request":
                        nursery.cancel_scope.cancel()
                        return

            nursery.start_soon(leave)
            async with self._turns:
                await trio.sleep_until(self._next_turn)
                self._next_turn = trio.current_time() + PACE_SECONDS
            nursery.cancel_scope.cancel()
            return True
        return False


class _Sending:
    """A ``send`` that adds the fields of every response."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            given = {name.lower() for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in COMMON_FIELDS.items()]
            message["headers"] = [*message["headers"], *(field for field in more if field[0] not in given)]
        await self._send(message)


class _Receiving:
    """A ``receive`` of a body that was read already, and then of what follows it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Gone(Exception):
    """The client left before its request was complete, so nothing is done and nothing is answered."""


async def _read_body(receive: Receive) -> bytes | None:
    """Return the whole body of a request; None if it is too large.

    Raises:
        _Gone: the client left before it was complete.
    """
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        body += bytes(message.get("body", b""))
        if len(body) > BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return body


async def _answer(answer: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, and discard a body that still arrives: the server waits until it is read."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_gone, receive)
        await answer(scope, receive, send)
        nursery.cancel_scope.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] == "http.request":
        pass
