"""Memory, and what connections that do nothing cost: in memory, and for a request at the same time."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING

from bench import load
from bench.machine import BenchError, Server
from bench.proxies import app, proxy
from bench.results import Row
from bench.transfer import connect, download

if TYPE_CHECKING:
    import socket

    from bench.plan import Plan

MEMORY = Row("memory", "memory after some load, no connection", "KiB")
SETTLE_SECONDS = 0.5
SETTLE_CONNECTIONS = 32
ANSWER_BYTES = len(load.ANSWER)


def run(plan: Plan) -> None:
    """One peer at a time, from a new start each: what memory a connection takes is seen only once."""
    with app(plan.place) as upstream:
        for turn in plan.turns("idle connections"):
            for name in plan.order(turn):
                with proxy(name, upstream.port, plan.place) as server:
                    plan.attempt(name, partial(_measure, turn=turn), plan, name, server, upstream)


def _measure(plan: Plan, name: str, server: Server, upstream: Server, *, turn: int) -> None:
    load.run(server.port, "browser", SETTLE_CONNECTIONS, seconds=plan.warm_seconds, seed=turn)
    alone = partial(load.measure, server, upstream, "browser", 1, seconds=plan.seconds, seed=turn)
    before = alone()
    time.sleep(SETTLE_SECONDS)
    empty_kib = server.memory_kib()
    plan.results.put(MEMORY, name, turn, empty_kib)
    with contextlib.ExitStack() as stack:
        held: list[socket.socket] = []
        for count in plan.idle:
            held += [stack.enter_context(_idle(server.port)) for _ in range(count - len(held))]
            time.sleep(SETTLE_SECONDS)
            row = Row(f"idle.{count}", f"memory an idle connection, of {count:,}", "KiB")
            plan.results.put(row, name, turn, (server.memory_kib() - empty_kib) / count)
        after = alone()
        _see_all_open(held)
    for what, ratio in (("p50", after.load.p50_us / before.load.p50_us), ("CPU", after.cpu_us / before.cpu_us)):
        row = Row(f"beside.{what.lower()}", f"{what} of a request with {len(held):,} idle / with none", "x")
        plan.results.put(row, name, turn, ratio)


def _idle(port: int) -> socket.socket:
    """A connection that had one answer and is kept."""
    sock = connect(port)
    try:
        download(sock, "/browser/one", ANSWER_BYTES)
    except BaseException:
        sock.close()
        raise
    return sock


def _see_all_open(socks: list[socket.socket]) -> None:
    """Raise where the proxy has closed what it was to hold."""
    closed = 0
    for sock in socks:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.recv(1)
            closed += 1
    if closed:
        raise BenchError(f"{closed} of {len(socks)} idle connections were closed")
