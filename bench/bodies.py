"""Large bodies, down and up: what a MiB costs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from bench import transfer
from bench.machine import BenchError, Server
from bench.proxies import app, proxy, script
from bench.results import Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.plan import Plan

SIZES_MIB = (1, 64)
CONNECTIONS = 4
MIB = 1 << 20


def run(plan: Plan) -> None:
    """Down from nginx, up to a sink of our own; each its own instances of the peers."""
    files = {size: _file(plan.place.scratch / "files", size) for size in SIZES_MIB}
    with app(plan.place) as upstream, contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(proxy(name, upstream.port, plan.place)) for name in plan.peers}
        _rounds(plan, servers, files, "down")
    with script("bench.sink", plan.place) as sink, contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(proxy(name, sink.port, plan.place)) for name in plan.peers}
        _rounds(plan, servers, files, "up")


def _file(directory: Path, size_mib: int) -> Path:
    directory.mkdir(exist_ok=True)
    file = directory / f"{size_mib}m"
    file.write_bytes(os.urandom(size_mib * MIB))
    return file


def _rounds(plan: Plan, servers: dict[str, Server], files: dict[int, Path], way: str) -> None:
    move, check = (_download, check_download) if way == "down" else (_upload, check_upload)
    for name, server in servers.items():
        plan.attempt(name, _cost, server, partial(move, files[1]), 1, plan.warm_seconds)
    for turn in plan.turns(f"bodies {way}"):
        for size, file in files.items():
            row = Row(f"body.{way}.{size}", f"CPU a MiB, {size} MiB {way}", "µs")
            for name in plan.order(turn):
                plan.attempt(name, check, file, servers[name].port)
                cost = plan.attempt(name, _cost, servers[name], partial(move, file), size, plan.seconds)
                if cost is not None:
                    plan.results.put(row, name, turn, cost)


def _cost(proxy: Server, move: Callable[[int, float], int], size_mib: int, seconds: float) -> float:
    """Microseconds of the proxy's CPU a MiB, with some connections that move one body after another."""
    deadline = time.monotonic() + seconds
    before = proxy.cpu_seconds()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        moved = sum(threads.map(move, [proxy.port] * CONNECTIONS, [deadline] * CONNECTIONS))
    return (proxy.cpu_seconds() - before) / (moved * size_mib) * 1e6


def _download(file: Path, port: int, deadline: float) -> int:
    """Ask for the file again and again; how often."""
    size, count = file.stat().st_size, 0
    with transfer.connect(port) as sock:
        while time.monotonic() < deadline or not count:
            transfer.download(sock, f"/files/{file.name}", size)
            count += 1
    return count


def _upload(file: Path, port: int, deadline: float) -> int:
    """Send the file again and again; how often."""
    size, count = file.stat().st_size, 0
    with transfer.connect(port) as sock:
        while time.monotonic() < deadline or not count:
            if (arrived := transfer.upload(sock, "/count", file)) != str(size):
                raise BenchError(f"of {size} bytes {arrived} arrived")
            count += 1
    return count


def check_download(file: Path, port: int) -> None:
    """See that the file comes down as it is.

    Raises:
        BenchError: otherwise.
    """
    with transfer.connect(port) as sock:
        if transfer.download_digest(sock, f"/files/{file.name}") != _sha256(file):
            raise BenchError(f"{file.name} came down changed")


def check_upload(file: Path, port: int) -> None:
    """See that the file arrives as it is.

    Raises:
        BenchError: otherwise.
    """
    with transfer.connect(port) as sock:
        if transfer.upload(sock, "/digest", file) != _sha256(file):
            raise BenchError(f"{file.name} arrived changed")


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
