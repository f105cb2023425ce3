"""A server with scripted answers, in place of etcd."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import trio

from rainbowd.config import FleetSettings
from rainbowd.fleet.engine import EngineError
from rainbowd.fleet.etcd import Etcd

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = tuple[int, object]
LONG_BYTES = 1000
"""From this number of bytes, an answer is sent at once, because each byte alone would take too long."""

HEADER = {"cluster_id": "1", "member_id": "2", "revision": "42", "raft_term": "3"}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Gateway:
    """A server that gives one scripted answer after another, and keeps what it was asked.

    Attributes:
        asked: the path, the headers and the body of each request.
        answers: a status with a JSON value, a text, or None to close without an answer.
        headers: of every answer, a line each.
    """

    def __init__(self, *answers: Answer | None) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.answers = list(answers)
        self.headers = ""
        self.url = ""

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._answer, listeners)

    async def _answer(self, stream: trio.SocketStream) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                data = await stream.receive_some()
                if not data:
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            length = int(fields.get("content-length", 0))
            while len(received) < length:
                received += await stream.receive_some()
            body, received = received[:length], received[length:]
            self.asked.append((first.split()[1], fields, json.loads(body) if body else None))
            answer = self.answers.pop(0)
            if answer is None:
                await stream.aclose()
                return
            status, value = answer
            text = value if isinstance(value, str) else json.dumps(value)
            is_json = not isinstance(value, str) or value.startswith("{")
            reply = (
                f"HTTP/1.1 {status} X\r\nContent-Type: {'application/json' if is_json else 'text/plain'}\r\n"
                f"{self.headers}Transfer-Encoding: chunked\r\n\r\n"
                f"{len(text.encode()):x}\r\n{text}\r\n0\r\n\r\n"
            ).encode()
            size = 1 if len(reply) < LONG_BYTES else len(reply)
            try:
                for start in range(0, len(reply), size):
                    await stream.send_all(reply[start : start + size])
            except trio.BrokenResourceError:  # the client has read enough
                return


async def asked(
    act: Callable[[Etcd], Any], *answers: Answer | None, headers: str = "", **changes: object
) -> tuple[Gateway, Any]:
    """Return the gateway after one call, and what it returned or raised."""
    gateway = Gateway(*answers)
    gateway.headers = headers
    found: Any = None
    async with trio.open_nursery() as nursery:
        await nursery.start(gateway.serve)
        settings = FleetSettings.model_validate({"name": "shop", "endpoints": (gateway.url,), **changes})
        async with Etcd(settings) as etcd:
            try:
                found = await act(etcd)
            except EngineError as error:
                found = error
        nursery.cancel_scope.cancel()
    return gateway, found
