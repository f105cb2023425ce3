"""Stands in front of the API: lets in who knows the token, and lets nobody take more than his share.

The API lives in the proxy's own event loop.  So strangers get turns one after the other, bodies are small and have to
come in time, and what breaks here is told and is over.
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
"""From one stranger's answer to the next one's, of all together: at most twenty a second."""

COMMON_FIELDS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
LAST = {"connection": "close"}

log = get_logger()


class Guard:
    """An ASGI application in front of another.

    Args:
        app: what is guarded.
        token: what every call has to know but a GET of the page.
    """

    def __init__(self, app: ASGIApp, token: Token) -> None:
        self._app = app
        self._token = token
        self._next_turn = -math.inf
        self._turns = trio.StrictFIFOLock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":  # no WebSocket here, and nothing to be told of the server's life
            await send({"type": "websocket.close"})
            return
        sending = _Sending(send)
        try:
            await self._serve(scope, receive, sending)
        except _Gone:
            pass
        except Exception as bug:
            log.error("bug: a call of the API broke", method=scope["method"], path=scope["path"], exc_info=bug)
            if not sending.has_begun:
                await _answer(problem(500, "The agent failed; its log says more.", headers=LAST), scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._token.admits([value for name, value in scope["headers"] if name == b"authorization"]):
            with scope.get("kept", nullcontext)():
                await self._serve_friend(scope, receive, send)
        elif not await self._take_turn(receive):
            return
        elif scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}:
            await _answer(self._app, scope, receive, send)
        else:
            headers = {"www-authenticate": 'Bearer realm="rainbowd"', **LAST}
            refusal = problem(401, "This needs the header Authorization: Bearer TOKEN.", headers=headers)
            await _answer(refusal, scope, receive, send)

    async def _serve_friend(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: bytes | None = None
        with trio.move_on_after(BODY_SECONDS) as waiting:
            body = await _take_body(receive)
        if waiting.cancelled_caught:
            await _answer(problem(408, "The body did not arrive in time.", headers=LAST), scope, receive, send)
        elif body is None:
            refusal = problem(413, f"A body may have {BODY_BYTES} bytes here.", headers=LAST)
            await _answer(refusal, scope, receive, send)
        else:
            await self._app(scope, _Receiving(body, receive), send)

    async def _take_turn(self, receive: Receive) -> bool:
        """Wait for the next stranger's turn; False for one who leaves before it, which is then the next one's."""
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                while not (message := await receive()).get("more_body"):  # a body is left where it is
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
    """Sends, and adds what every answer has."""

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
    """Receives a body that is here already, and then what comes behind it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Gone(Exception):
    """The client left before his request was whole: nothing is done, and nobody is there to be answered."""


async def _take_body(receive: Receive) -> bytes | None:
    """A request's whole body; None where it is too large.

    Raises:
        _Gone: it did not come whole, and does not.
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
    """Answer, and take no notice of a body that may still come: the server waits until it is taken."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_gone, receive)
        await answer(scope, receive, send)
        nursery.cancel_scope.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] == "http.request":
        pass
