"""The app that live tests deploy: ``python app.py PORT``, or ``python app.py PATH`` for a Unix socket.

At TERM it does what gunicorn and uvicorn do, and what makes a careless proxy lose requests: it closes its
listener and its idle connections at once, bytes that wait in them or not, and finishes what it is answering.

Its release may hold an ``app.json`` that changes how it behaves; see ``Behaviour``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes of RFC 6455 section 5.2."""

ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STREAM_LINE_SECONDS = 0.05
PATTERN = bytes(range(251)) * 256
"""A pattern whose length no buffer has, so that a lost or doubled part is noticed."""
SERVICE_RESTART = 1012
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}

Answer = Callable[["Exchange"], Coroutine[None, None, None]]


@dataclass(frozen=True)
class Behaviour:
    """The settings that a release's ``app.json`` can have.

    Attributes:
        release: what the app calls itself; its directory's name by default.
        exit_status: end with it at once.
        listen: False: run on without ever listening.
        boot_seconds: how long to take before listening.
        awaits: a path, relative to the release, of a file that must exist before it listens.
        up_status: the answer of ``/up``.
        ignore_term: go on at TERM as if nothing was said.
        output: lines to write at the start.
        zoo: what ``zoo.py`` does before.
        fail_every: answer every request to ``/`` of this number with 500; 0 for none.
        files: more paths, each with the content of its answer.
    """

    release: str = field(default_factory=lambda: Path.cwd().name)
    exit_status: int | None = None
    listen: bool = True
    boot_seconds: float = 0.0
    awaits: str = ""
    up_status: int = 200
    ignore_term: bool = False
    output: tuple[str, ...] = ()
    zoo: tuple[str, ...] = ()
    fail_every: int = 0
    files: dict[str, str] = field(default_factory=dict)


@dataclass
class App:
    """The state of one run."""

    behaviour: Behaviour
    boot_seconds: float = 0.0
    idle: set[asyncio.Task[None]] = field(default_factory=set)
    busy: set[asyncio.Task[None]] = field(default_factory=set)
    tunnels: set[asyncio.StreamWriter] = field(default_factory=set)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    def identity(self) -> dict[str, str]:
        """Return the fields that identify the process in every answer."""
        return {
            "X-Generation": os.environ.get("RAINBOWD_GENERATION", "0"),
            "X-Release": self.behaviour.release,
            "X-Boot-Seconds": f"{self.boot_seconds:.3f}",
        }


@dataclass
class Exchange:
    """One request, and the stream that its answer goes to."""

    app: App
    method: str
    target: str
    fields: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def last(self) -> bool:
        """Whether the connection is closed after this answer."""
        return self.app.stopping.is_set() or self.fields.get("connection", "").lower() == "close"

    def asked(self, name: str, usual: float) -> float:
        """Return a number from the query."""
        return float(parse_qs(urlsplit(self.target).query).get(name, [str(usual)])[0])

    async def body(self) -> bytes:
        """Return the request's body, read by its length or its chunks."""
        if self.fields.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.fields.get("transfer-encoding", "").lower() == "chunked":
            return b"".join([chunk async for chunk in chunks(self.reader)])
        return await self.reader.readexactly(int(self.fields.get("content-length", "0")))

    def head(self, status: int, fields: dict[str, str]) -> bytes:
        """Return a response's head, with ``Connection: close`` in the last one."""
        everything = {**self.app.identity(), **fields}
        if self.last and status != 101:
            everything["Connection"] = "close"
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in everything.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    async def answer(self, text: str, status: int = 200, media_type: str = "application/json") -> None:
        """Send a complete response with ``text``."""
        body = text.encode()
        head = self.head(status, {"Content-Type": media_type, "Content-Length": str(len(body))})
        self.writer.write(head + (b"" if self.method == "HEAD" else body))
        await self.writer.drain()


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the chunks of a message up to its end: RFC 9112 section 7.1."""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        data = await reader.readexactly(size + 2)
        if not data.endswith(b"\r\n"):
            raise ValueError(f"a chunk of {size} bytes ends with {data[-2:]!r}")
        yield data[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass


def frame(opcode: int, payload: bytes, *, mask: bytes = b"") -> bytes:
    """Return a complete WebSocket frame; that of a client has a mask of four bytes: RFC 6455 section 5.2."""
    bit = 0x80 if mask else 0
    size = len(payload)
    length = bytes([bit | size]) if size < 126 else bytes([bit | 126]) + size.to_bytes(2)
    return bytes([0x80 | opcode]) + length + mask + (masked(payload, mask) if mask else payload)


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the opcode and the payload of one frame."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    mask = await reader.readexactly(4) if second & 0x80 else b""
    payload = await reader.readexactly(size)
    return first & 0x0F, masked(payload, mask) if mask else payload


def masked(payload: bytes, mask: bytes) -> bytes:
    """Return ``payload`` masked or unmasked: RFC 6455 section 5.3."""
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


async def who(exchange: Exchange) -> None:
    """Answer ``/`` with the fields of the request."""
    app = exchange.app
    app.asked += 1
    if app.behaviour.fail_every and app.asked % app.behaviour.fail_every == 0:
        await exchange.answer("failed", 500)
        return
    await exchange.answer(json.dumps({"pid": os.getpid(), "fields": exchange.fields}))


async def up(exchange: Exchange) -> None:
    """Answer ``/up``, the health check."""
    await exchange.answer("up", exchange.app.behaviour.up_status)


async def slow(exchange: Exchange) -> None:
    """Answer ``/slow?ms=300`` after that time."""
    await asyncio.sleep(exchange.asked("ms", 300) / 1000)
    await exchange.answer("slow")


async def stream(exchange: Exchange) -> None:
    """Answer ``/stream?seconds=1`` with numbered lines, each in a chunk, and the line ``end``."""
    exchange.writer.write(exchange.head(200, {"Transfer-Encoding": "chunked"}))
    count = max(1, round(exchange.asked("seconds", 1) / STREAM_LINE_SECONDS))
    for line in (*(f"{number}\n" for number in range(count)), "end\n"):
        exchange.writer.write(b"%x\r\n%s\r\n" % (len(line), line.encode()))
        await exchange.writer.drain()
        await asyncio.sleep(STREAM_LINE_SECONDS)
    exchange.writer.write(b"0\r\n\r\n")
    await exchange.writer.drain()


async def echo(exchange: Exchange) -> None:
    """Answer ``/echo`` with the body of the request."""
    body = await exchange.body()
    await exchange.answer(json.dumps({"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}))


async def big(exchange: Exchange) -> None:
    """Answer ``/big?bytes=1000000`` with this number of bytes of ``PATTERN``."""
    left = int(exchange.asked("bytes", 1_000_000))
    exchange.writer.write(exchange.head(200, {"Content-Length": str(left)}))
    while left:
        exchange.writer.write(PATTERN[:left])
        left -= min(left, len(PATTERN))
        await exchange.writer.drain()


async def websocket(exchange: Exchange) -> None:
    """Return every message on ``/ws``; at TERM close it with 1012, as uvicorn does."""
    key = exchange.fields["sec-websocket-key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + ACCEPT_GUID).digest()).decode()
    switch = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Accept": accept}
    exchange.writer.write(exchange.head(101, switch))
    exchange.app.tunnels.add(exchange.writer)
    opcode = TEXT
    while opcode != CLOSE:
        opcode, payload = await read_frame(exchange.reader)
        exchange.writer.write(frame(PONG if opcode == PING else opcode, payload))
        await exchange.writer.drain()


ANSWERS: dict[str, Answer] = {
    "/": who,
    "/up": up,
    "/slow": slow,
    "/stream": stream,
    "/echo": echo,
    "/big": big,
    "/ws": websocket,
}


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]]:
    """Return the method, the target and the fields of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    pairs = (entry.split(":", 1) for entry in rest)
    return method, target, {name.lower(): value.strip() for name, value in pairs}


async def converse(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until one side closes it."""
    task = asyncio.current_task()
    assert task is not None
    try:
        while not app.stopping.is_set():
            app.busy.discard(task)
            app.idle.add(task)
            method, target, fields = await read_head(reader)
            app.idle.discard(task)
            app.busy.add(task)
            exchange = Exchange(app, method, target, fields, reader, writer)
            answer = ANSWERS.get(urlsplit(target).path)
            content = app.behaviour.files.get(target)
            if content is not None:
                await exchange.answer(content, media_type=MEDIA_TYPES.get(Path(target).suffix, "text/html"))
            else:
                await (answer(exchange) if answer else exchange.answer(target, 404))
            if answer is websocket or exchange.last:
                break
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        pass
    finally:
        app.idle.discard(task)
        app.tunnels.discard(writer)
        writer.close()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await writer.wait_closed()
        app.busy.discard(task)


async def serve(app: App, where: str) -> None:
    """Listen until TERM, then finish the requests in flight."""
    loop = asyncio.get_running_loop()
    callback = partial(converse, app)
    if where.isdigit():
        server = await asyncio.start_server(callback, "127.0.0.1", int(where), backlog=2048)
    else:
        server = await asyncio.start_unix_server(callback, where, backlog=2048)
    app.boot_seconds = age_seconds()
    if not app.behaviour.ignore_term:
        loop.add_signal_handler(signal.SIGTERM, app.stopping.set)
    print(f"{app.behaviour.release} listens on {where}", flush=True)
    await app.stopping.wait()
    server.close()
    for task in tuple(app.idle):
        task.cancel()
    for tunnel in tuple(app.tunnels):
        tunnel.write(frame(CLOSE, SERVICE_RESTART.to_bytes(2)))
        tunnel.close()
    while app.busy or app.idle:
        await asyncio.wait(app.busy | app.idle)


def age_seconds() -> float:
    """Return the seconds since this process was started: proc(5), field 22 of ``/proc/self/stat``."""
    started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")


def main(where: str) -> None:
    """Run the app with the settings of the release in the working directory."""
    file = Path("app.json")
    behaviour = Behaviour(**json.loads(file.read_text())) if file.exists() else Behaviour()
    if behaviour.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in behaviour.output:
        print(line, flush=True)
    if behaviour.exit_status is not None:
        sys.exit(behaviour.exit_status)
    time.sleep(behaviour.boot_seconds)
    while behaviour.awaits and not Path(behaviour.awaits).exists():
        time.sleep(0.02)
    if not behaviour.listen:
        signal.pause()
    asyncio.run(serve(App(behaviour), where))


if __name__ == "__main__":
    main(sys.argv[1])
