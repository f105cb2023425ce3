"""WebSocket tunnels: what a frame costs, and how many there are a second."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.frames import PAYLOAD_BYTES, SERVER_BYTES, client_frame, handshake, server_frame
from bench.machine import BenchError, Server
from bench.proxies import TUNNELS, proxy, script
from bench.requests import BUSY
from bench.results import Row
from bench.transfer import connect, receive_head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.plan import Plan

CONNECTIONS = 32
PATIENCE_SECONDS = 10.0
CPU = Row("frame.cpu", "CPU a WebSocket frame, 32 tunnels", "µs")
RATE = Row("frame.rate", "WebSocket frames a second, 32 tunnels", "/s")


@dataclass(frozen=True)
class Exchange:
    """A frame that is sent, and the one that has to come back."""

    sent: bytes
    expected: bytes


def run(plan: Plan) -> None:
    """Those peers that forward an upgrade, in front of an echo."""
    names = [name for name in plan.peers if name in TUNNELS]
    with script("bench.echo", plan.place) as echo, contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(proxy(name, echo.port, plan.place)) for name in names}
        for name, server in servers.items():
            plan.attempt(name, _measure, server, plan.warm_seconds)
        for turn in plan.turns("websockets"):
            for name in plan.order(turn):
                measured = plan.attempt(name, _measure, servers[name], plan.seconds) if name in servers else None
                if measured:
                    cpu_us, rate, busy = measured
                    plan.results.put(CPU, name, turn, cpu_us)
                    plan.results.put(RATE, name, turn, rate, limited=busy < BUSY)


def exchanges(count: int) -> list[Exchange]:
    """Frames that differ in text and mask."""
    texts = [f"{number:0{PAYLOAD_BYTES}}".encode() for number in range(count)]
    return [Exchange(client_frame(text, os.urandom(4)), server_frame(text)) for text in texts]


def _measure(proxy: Server, seconds: float) -> tuple[float, float, float]:
    """Microseconds of the proxy's CPU a frame, frames a second, and the share of the time that it was at work."""
    with _tunnels(proxy.port) as socks:
        begun, before = time.monotonic(), proxy.cpu_seconds()
        frames = 2 * _converse(socks, begun + seconds)
        spent, lasted = proxy.cpu_seconds() - before, time.monotonic() - begun
    return spent / frames * 1e6, frames / lasted, spent / lasted


@contextlib.contextmanager
def _tunnels(port: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(port)) for _ in range(CONNECTIONS)]
        for number, sock in enumerate(socks):
            sock.sendall(handshake(f"/echo/{number}"))
            head = receive_head(sock)
            if head is None or not head[0].startswith(b"HTTP/1.1 101 "):
                raise BenchError(f"no tunnel but {head[0][:100] if head else b''!r}")
        yield socks


def _converse(socks: list[socket.socket], deadline: float) -> int:
    """Each tunnel sends a frame when the last has come back as it was; how many came back."""
    frames, count = exchanges(256), 0
    waiting = {sock.fileno(): (sock, number) for number, sock in enumerate(socks)}
    with select.epoll() as epoll:
        for sock, number in waiting.values():
            epoll.register(sock, select.EPOLLIN)
            sock.sendall(frames[number].sent)
        while time.monotonic() < deadline:
            ready = epoll.poll(PATIENCE_SECONDS)
            if not ready:
                raise BenchError("no frame came back")
            for fd, _ in ready:
                sock, number = waiting[fd]
                if sock.recv(SERVER_BYTES, socket.MSG_WAITALL) != frames[number].expected:
                    raise BenchError("a frame came back changed")
                count += 1
                number = (number + 1) % len(frames)
                sock.sendall(frames[number].sent)
                waiting[fd] = sock, number
    return count
