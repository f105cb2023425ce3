"""Many connections, and no descriptors left: a process of its own, whose limits are its own."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.live.soak import proxied, wait_until
from tests.proxy.scripted import GET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDLE = 2000
IDLE_BYTES = 16 << 10
"""How much memory an idle connection may cost, all in all."""
FEW_DESCRIPTORS = 60
OUT_OF_DESCRIPTORS_SECONDS = 1.0

pytestmark = pytest.mark.live


@contextlib.contextmanager
def crowd(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Open ``count`` connections, which may still wait to be accepted."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(count)]


def ask(sock: socket.socket) -> bytes:
    """The status line and the rest of the head of an answer, with what came along of its body."""
    sock.sendall(GET)
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            break
        data += more
    return data


def allow(pid: int, descriptors: int) -> None:
    """Set the limit of a process; see getrlimit(2)."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        pytest.skip(f"the hard limit on open files is {hard}")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, hard))


@contextlib.contextmanager
def allowed(descriptors: int) -> Iterator[None]:
    """The same for this process, and back."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow(0, max(descriptors, before[0]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_crowd_of_idle_connections_costs_little_and_holds_nobody_up(tmp_path: Path) -> None:
    with allowed(IDLE + 500), proxied(tmp_path, "head_timeout=60") as proxy:
        allow(proxy.process.pid, IDLE + 500)
        with crowd(proxy.port, 1) as (first,):
            assert ask(first).startswith(b"HTTP/1.1 200")
        before_bytes = proxy.memory_bytes()
        with crowd(proxy.port, IDLE) as idle:
            for sock in idle[::2]:
                assert ask(sock).startswith(b"HTTP/1.1 200")
            wait_until(lambda: proxy.descriptors() > IDLE)
            assert proxy.memory_bytes() - before_bytes < IDLE * IDLE_BYTES
            cpu_seconds = proxy.cpu_seconds()
            time.sleep(OUT_OF_DESCRIPTORS_SECONDS)  # in which nobody asks for anything
            assert proxy.cpu_seconds() - cpu_seconds < 0.5 * OUT_OF_DESCRIPTORS_SECONDS
            with crowd(proxy.port, 1) as (another,):
                assert ask(another).startswith(b"HTTP/1.1 200")
            assert ask(idle[-1]).startswith(b"HTTP/1.1 200")
        wait_until(lambda: proxy.descriptors() < 100)
        assert proxy.complaints() == []


def test_without_descriptors_the_proxy_neither_spins_nor_dies_nor_forgets_anybody(tmp_path: Path) -> None:
    with proxied(tmp_path, "head_timeout=60") as proxy:
        with crowd(proxy.port, 1) as (kept,):
            assert ask(kept).startswith(b"HTTP/1.1 200")
            allow(proxy.process.pid, FEW_DESCRIPTORS)
            with crowd(proxy.port, 3 * FEW_DESCRIPTORS):
                wait_until(lambda: proxy.descriptors() == FEW_DESCRIPTORS)
                cpu_seconds = proxy.cpu_seconds()
                time.sleep(OUT_OF_DESCRIPTORS_SECONDS)
                assert proxy.cpu_seconds() - cpu_seconds < 0.5 * OUT_OF_DESCRIPTORS_SECONDS
                assert ask(kept).startswith((b"HTTP/1.1 503", b"HTTP/1.1 200"))
            with crowd(proxy.port, 5) as clients:
                for sock in clients:
                    assert ask(sock).startswith(b"HTTP/1.1 200")
        wait_until(lambda: proxy.descriptors() < 20)
        assert proxy.complaints() == []
        assert "cannot accept connections" in proxy.output_file.read_text()
