"""A strict HTTP/1.1 client: everything but a complete, well-formed answer is an error."""

from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.live.app import BINARY, CLOSE, chunks, frame, read_frame

if TYPE_CHECKING:
    from collections.abc import Iterable


class BadAnswer(Exception):
    """An answer that is not as it should be; ``answer`` has it if it could be read."""

    def __init__(self, what: str, answer: Answer | None = None) -> None:
        super().__init__(what)
        self.answer = answer


class CutOff(BadAnswer):
    """The response ended after its head and before its end."""


@dataclass(frozen=True)
class Answer:
    """A complete response of the app."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def generation(self) -> int:
        """The generation of the app that sent this response."""
        return int(self.fields["x-generation"])

    @property
    def last(self) -> bool:
        """Whether the connection is closed after this response."""
        return self.fields.get("connection", "").lower() == "close"


class Client:
    """One connection, with fields that every request on it has."""

    def __init__(
        self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fields: Iterable[str] = ()
    ) -> None:
        self._host = host
        self._fields = fields
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int, fields: Iterable[str] = ()) -> Self:
        """Open a connection to the proxy."""
        return cls(f"{host}:{port}", *await asyncio.open_connection(host, port), fields)

    async def close(self) -> None:
        """Close the connection without a request."""
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def ask(
        self,
        target: str,
        *,
        body: bytes | None = None,
        chunked: bool = False,
        last: bool = False,
        fields: Iterable[str] = (),
    ) -> Answer:
        """Send a GET, or a POST with ``body``, and read the whole answer."""
        fields = [*fields, "Connection: close"] if last else [*fields]
        payload = b""
        if body is not None and chunked:
            fields.append("Transfer-Encoding: chunked")
            payload = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in halves(body)) + b"0\r\n\r\n"
        elif body is not None:
            fields.append(f"Content-Length: {len(body)}")
            payload = body
        await self._send_head("GET" if body is None else "POST", target, fields, payload)
        return await self.read_answer()

    async def send_ahead(self, requests: Iterable[tuple[str, bytes]]) -> None:
        """Send a POST for each target and body; ``read_answer`` reads one answer after the other."""
        for target, body in requests:
            await self._send_head("POST", target, [f"Content-Length: {len(body)}"], body)

    async def become_tunnel(self, target: str) -> Answer:
        """Switch the connection to the WebSocket protocol."""
        key = base64.b64encode(os.urandom(16)).decode()
        fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        await self._send_head("GET", target, [*fields, f"Sec-WebSocket-Key: {key}"])
        answer = await self.read_answer()
        if answer.status != 101:
            raise BadAnswer(f"{answer.status} to an upgrade: {answer.body[:200]!r}")
        return answer

    async def exchange_message(self, message: bytes) -> bool:
        """Send a message and read it back; return False if the other side closed instead."""
        self._writer.write(frame(BINARY, message, mask=os.urandom(4)))
        await self._writer.drain()
        opcode, payload = await read_frame(self._reader)
        if opcode != CLOSE and payload != message:
            raise BadAnswer(f"the message {message!r} came back as {payload!r} with opcode {opcode}")
        return opcode != CLOSE

    async def _send_head(self, method: str, target: str, fields: list[str], payload: bytes = b"") -> None:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", *self._fields, *fields]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
        await self._writer.drain()

    async def read_answer(self) -> Answer:
        """Read the complete answer to the oldest unanswered request."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        version, status, *_ = line.split(" ")
        if version != "HTTP/1.1":
            raise BadAnswer(f"an answer that begins with {line!r}")
        fields = {name.lower(): value.strip() for name, _, value in (entry.partition(":") for entry in rest)}
        try:
            return Answer(int(status), fields, await self._read_body(int(status), fields))
        except (OSError, EOFError) as error:
            raise CutOff(f"{line!r} and a body that ends early: {error!r}") from error

    async def _read_body(self, status: int, fields: dict[str, str]) -> bytes:
        if status == 101:
            return b""
        if fields.get("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in chunks(self._reader)])
        if "content-length" not in fields:
            raise BadAnswer(f"an answer without a length: {fields}")
        return await self._reader.readexactly(int(fields["content-length"]))


def halves(body: bytes) -> tuple[bytes, bytes]:
    """Return ``body`` in two chunks, neither of them empty."""
    middle = max(1, len(body) // 2)
    return body[:middle], body[middle:]
