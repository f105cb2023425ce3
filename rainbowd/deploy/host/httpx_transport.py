"""The httpx transport for health checks, which reads responses with the proxy's parser.

So a health check sees what clients will get.  httpx's own parser accepts responses that the proxy refuses, and refuses
some that the proxy passes on.
"""

from __future__ import annotations

from contextlib import suppress

import httpx
import trio

from rainbowd.http1 import ResponseCheck

_RECEIVE_BYTES = 65536
_FIRST_BYTES = 64


class AppTransport(httpx.AsyncBaseTransport):
    """The transport of one request on a connection to an app.

    Attributes:
        first: the first bytes that the app sent, at most 64.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.first = b""
        self._stream = stream

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` and read the head of the response; the ``target`` extension is sent as it is.

        Raises:
            httpx.RemoteProtocolError: the proxy refuses the response; the message is what the proxy logs.
        """
        with suppress(trio.BrokenResourceError):  # the app reads no more, but its answer may be there
            await self._stream.send_all(_serialised(request))
        answer = _Answer(self, request.method.encode())
        while (head := answer.judge.head) is None:
            answer.raise_problem()
            await answer.receive()
        fields = [line.partition(b":") for line in head.lines]
        return httpx.Response(
            head.status,
            headers=[(name, value.strip(b" \t")) for name, _, value in fields],
            stream=answer,
            extensions={"reason_phrase": head.reason},
        )

    async def receive(self) -> bytes:
        """Return the next bytes; empty after the app has closed the connection."""
        try:
            data = bytes(await self._stream.receive_some(_RECEIVE_BYTES))
        except trio.BrokenResourceError:  # a reset
            data = b""
        self.first += data[: _FIRST_BYTES - len(self.first)]
        return data

    async def aclose(self) -> None:
        """Close the connection; this does not wait."""
        self._stream.socket.close()


class _Answer(httpx.AsyncByteStream):
    """A response whose body is read while it is iterated."""

    def __init__(self, transport: AppTransport, method: bytes) -> None:
        self.judge = ResponseCheck(method)
        self._transport = transport
        self._payload = b""

    async def receive(self) -> None:
        """Read and parse the next bytes."""
        data = await self._transport.receive()
        if data:
            self.judge.feed(data)
            self._payload += self.judge.payload
        else:
            self.judge.feed_eof()

    def raise_problem(self) -> None:
        """Raise ``httpx.RemoteProtocolError`` if the proxy refuses what has arrived."""
        if self.judge.problem is not None:
            raise httpx.RemoteProtocolError(self.judge.problem)

    def __aiter__(self) -> _Answer:
        return self

    async def __anext__(self) -> bytes:
        while not (self._payload or self.judge.is_done):
            self.raise_problem()
            await self.receive()
        payload, self._payload = self._payload, b""
        if not payload:
            raise StopAsyncIteration
        return payload


def _serialised(request: httpx.Request) -> bytes:
    target: bytes = request.extensions.get("target", request.url.raw_path)
    fields = [b"%b: %b\r\n" % field for field in request.headers.raw]
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method.encode(), target, b"".join(fields))
