"""A client and an app that do what a test says, byte by byte, with a real server between them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import sys
import termios
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rainbowd.address import Address, TcpAddress, family, parse_address, sockaddr
from rainbowd.config import DEFAULT_TRUST, Hold, Limits
from rainbowd.http1 import ChunkedBody
from rainbowd.listeners import open_listener
from rainbowd.proxy import ProxySettings, Server
from rainbowd.proxy.connection import Connection
from rainbowd.roster import Generation, Roster

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from rainbowd.listeners import Listener

PATIENCE_SECONDS = 60
"""No wait of a test takes longer, if all is well."""

ANY_PORT = TcpAddress("127.0.0.1", 0)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Message:
    """A head and its body, as they were received."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.line.split(b" ")[1])

    def all(self, name: bytes) -> list[bytes]:
        """The values of the fields called ``name``, in lower case."""
        return [value for key, value in self.fields if key.lower() == name]

    def __getitem__(self, name: bytes) -> bytes:
        (value,) = self.all(name)
        return value

    def __contains__(self, name: bytes) -> bool:
        return bool(self.all(name))


class Peer:
    """One end of a connection: the client's, or the app's."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        while data:
            data = data[await self.sock.send(data) :]

    async def send_slowly(self, data: bytes) -> None:
        """Send each byte in a packet of its own."""
        for byte in data:
            await self.send(bytes([byte]))
            await trio.lowlevel.checkpoint()

    def send_until_full(self) -> int:
        """Send until the socket takes no more at once; the number of bytes."""
        sent = 0
        with contextlib.suppress(BlockingIOError), self._raw() as raw:
            while True:
                sent += raw.send(b"x" * 65536)
        return sent

    def take_what_is_there(self) -> int:
        """Receive what has arrived; the number of bytes."""
        received = 0
        with contextlib.suppress(BlockingIOError), self._raw() as raw:
            while data := raw.recv(65536):
                received += len(data)
        return received

    def count_unread(self) -> int:
        """The number of bytes that have arrived."""
        return int.from_bytes(fcntl.ioctl(self.sock.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)

    def _raw(self) -> socket.socket:
        raw = socket.socket(fileno=os.dup(self.sock.fileno()))
        raw.setblocking(False)
        return raw

    async def _more(self) -> None:
        data = await self.sock.recv(65536)
        if not data:
            raise EOFError(self.buffer)
        self.buffer += data

    async def take(self, count: int) -> bytes:
        """Receive exactly ``count`` bytes."""
        while len(self.buffer) < count:
            await self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    async def until(self, mark: bytes) -> bytes:
        """Receive up to ``mark`` and with it."""
        while mark not in self.buffer:
            await self._more()
        return await self.take(self.buffer.index(mark) + len(mark))

    async def rest(self) -> bytes:
        """All up to the end; OSError where that is a reset."""
        with contextlib.suppress(EOFError):
            while True:
                await self._more()
        data, self.buffer = self.buffer, b""
        return data

    async def ended(self) -> bool:
        """Whether the other side is gone, by a FIN or a reset, with nothing before."""
        try:
            return await self.rest() == b""
        except OSError:
            return True

    async def head(self) -> Message:
        """Receive a head."""
        line, *fields = (await self.until(b"\r\n\r\n"))[:-4].split(b"\r\n")
        pairs = (entry.split(b": ", 1) for entry in fields)
        return Message(line, [(name, value) for name, value in pairs])

    async def message(self, *, bodiless: bool = False) -> Message:
        """Receive a head and the body that it announces; of a close-delimited one all up to the end."""
        message = await self.head()
        is_response = message.line.startswith(b"HTTP/")
        if bodiless:
            pass
        elif b"transfer-encoding" in message:
            await self._take_chunks(message)
        elif b"content-length" in message:
            message.body = await self.take(int(message[b"content-length"]))
        elif is_response:
            message.body = await self.rest()
        return message

    async def _take_chunks(self, message: Message) -> None:
        body = ChunkedBody(strict=False)
        while True:
            data, self.buffer = self.buffer, b""
            payload, self.buffer = body.feed(data)
            message.body += payload
            if body.is_done:
                message.trailers = [(name, value) for name, value in (line.split(b": ", 1) for line in body.trailers)]
                return
            if not self.buffer:
                await self._more()

    async def ask(self, data: bytes = GET, *, bodiless: bool = False) -> Message:
        """Send a request and receive its response."""
        await self.send(data)
        return await self.message(bodiless=bodiless)

    async def fin(self) -> None:
        """Send no more."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close; a FIN, or a reset where something was left unread."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class App:
    """What listens where a generation is reached."""

    def __init__(self, address: Address) -> None:
        self._listener = trio.socket.socket(family(address), socket.SOCK_STREAM)
        self._peers: list[Peer] = []
        self._wanted = address
        self.accepted = 0

    async def listen(self) -> Address:
        """Begin to listen; where."""
        if isinstance(self._wanted, TcpAddress):
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await self._listener.bind(sockaddr(self._wanted))
        self._listener.listen(100)
        name = self._listener.getsockname()
        return TcpAddress(*name) if isinstance(self._wanted, TcpAddress) else self._wanted

    async def accept(self) -> Peer:
        """The next connection."""
        sock, _ = await self._listener.accept()
        self.accepted += 1
        self._peers.append(Peer(sock))
        return self._peers[-1]

    async def answer(self, response: bytes = OK) -> tuple[Peer, Message]:
        """Accept a connection, receive a request whole and answer it."""
        peer = await self.accept()
        request = await peer.message()
        await peer.send(response)
        return peer, request

    async def serve(self, respond: Callable[[Message], bytes] = lambda _: OK) -> None:
        """Answer every request on every connection, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self.go_on, await self.accept(), respond)

    async def go_on(self, peer: Peer, respond: Callable[[Message], bytes] = lambda _: OK) -> None:
        """Answer every request on a connection, until its end."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                await peer.send(respond(await peer.message()))

    def shrink_queue(self) -> None:
        """From now on connections wait in a queue of one."""
        self._listener.listen(0)

    def nothing_waits(self) -> bool:
        """Whether nobody connected who was not accepted."""
        with socket.socket(fileno=os.dup(self._listener.fileno())) as raw:
            raw.setblocking(False)
            try:
                raw.accept()[0].close()
            except BlockingIOError:
                return True
        return False

    def close(self) -> None:
        """Close the listener and every connection."""
        self._listener.close()
        for peer in self._peers:
            peer.close()


class Setting:
    """A server between clients and an app.

    Attributes:
        app: what listens where ``generation`` is reached; None where nothing is live.
        nursery: what the test does beside; cancelled in the end.
        stop: set it to have the server end.
        finished: set when it has.
    """

    def __init__(
        self, server: Server, listener: Listener, nursery: trio.Nursery, stop: trio.Event, finished: trio.Event
    ) -> None:
        self.server = server
        self.context = server.context
        self.roster = self.context.roster
        self.listener = listener
        self.address = parse_address(listener.address)
        self.nursery = nursery
        self.stop = stop
        self.finished = finished
        self.generations: list[Generation] = []
        self._clients: list[Peer] = []
        self._apps: list[App] = []

    @property
    def app(self) -> App:
        """The app of the newest generation."""
        return self._apps[-1]

    @property
    def generation(self) -> Generation:
        """The newest one."""
        return self.generations[-1]

    async def launch(self, address: Address = ANY_PORT, *, promote: bool = True) -> Generation:
        """Have one more generation, with an app that listens."""
        app = App(address)
        self._apps.append(app)
        generation = Generation(len(self.generations) + 1, Path(), await app.listen())
        self.generations.append(generation)
        self.roster.add(generation)
        if promote:
            self.roster.promote(generation, live_at=0.0)
        return generation

    def replace_app(self) -> App:
        """Another app where the newest generation is reached, for one that was closed."""
        self._apps.append(App(self.generation.address))
        return self.app

    async def client(self) -> Peer:
        """A connection to the server."""
        sock = trio.socket.socket(family(self.address), socket.SOCK_STREAM)
        try:
            await sock.connect(sockaddr(self.address))
        except OSError:
            sock.close()
            raise
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients.append(Peer(sock))
        return self._clients[-1]

    async def pair(self, request: bytes = GET) -> tuple[Peer, Peer]:
        """A client that sent ``request``, and the app's connection with its head received."""
        client = await self.client()
        await client.send(request)
        peer = await self.app.accept()
        await peer.head()
        return client, peer

    def serve(self, *peers: Peer) -> None:
        """From now on have the app answer all that comes, also on connections that it accepted before."""
        self.nursery.start_soon(self.app.serve)
        for peer in peers:
            self.nursery.start_soon(self.app.go_on, peer)

    def close(self) -> None:
        """Close what the test holds."""
        for client in self._clients:
            client.close()
        for app in self._apps:
            app.close()


@contextlib.asynccontextmanager
async def setting(
    *,
    limits: Mapping[str, float | None] | None = None,
    hold: Mapping[str, float] | None = None,
    trust: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = DEFAULT_TRUST,
    managed: bool = True,
    access: bool = False,
    assets: tuple[bytes, ...] = (),
    live: bool = True,
    app_address: Address = ANY_PORT,
    listen: Address = ANY_PORT,
    stop_seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[Setting]:
    """A server with a live generation, unless not ``live``; nothing may be left of either in the end."""
    with no_descriptor_left(), trio.fail_after(PATIENCE_SECONDS):
        settings = ProxySettings(
            limits=Limits.model_validate(limits or {}),
            hold=Hold.model_validate(hold or {}),
            trust=tuple(trust),
            managed=managed,
            access=access,
            assets=assets,
        )
        listener = open_listener(listen)
        server = Server(Roster(), settings)
        async with trio.open_nursery() as serving:
            stop, finished = trio.Event(), trio.Event()

            async def serve(task_status: trio.TaskStatus[None]) -> None:
                await server.serve([listener], stop, stop_seconds, task_status=task_status)
                finished.set()

            await serving.start(serve)
            try:
                async with trio.open_nursery() as nursery:
                    here = Setting(server, listener, nursery, stop, finished)
                    if live:
                        await here.launch(app_address)
                    yield here
                    nursery.cancel_scope.cancel()
            except BaseException:
                listener.close()  # the server is cancelled: what failed is the news
                server.context.pool.close()
                connections = [each for each in server.context.clients.served if isinstance(each, Connection)]
                for connection in [each for each in connections if each.is_parked]:
                    connection.close()  # no task is there to do it
                raise
            finally:
                here.close()
                stop.set()
            await finished.wait()
        nothing_left(here)


def nothing_left(here: Setting) -> None:
    """Every lease was given back, every connection is closed."""
    for generation in here.generations:
        assert generation.holders == set()
        assert generation.tunnels == set()
    assert here.context.clients.served == set()
    assert len(here.context.held_requests) == 0
    assert len(here.context.pool) == 0
    assert len(here.context.reactor) == 0


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """As many descriptors behind as before."""
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; the time limit of the setting is the limit."""
    while not condition():  # noqa: ASYNC110 - what it waits for is the server's, which has no event for a test
        await trio.sleep(0.005)
