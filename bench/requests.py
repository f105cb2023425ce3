"""Small requests: what one costs, how many there are a second, how long one takes."""

from __future__ import annotations

import contextlib
import itertools
from functools import partial
from typing import TYPE_CHECKING

from bench import load
from bench.proxies import app, proxy
from bench.results import Row

if TYPE_CHECKING:
    from bench.machine import Server
    from bench.plan import Plan

WARM_CONNECTIONS = 32
BUSY = 0.9
"""Below this share of the time at work, a proxy could have done more than it was asked for."""


def rows_of(head: str, connections: int, cost: load.Cost) -> list[tuple[Row, float]]:
    """What is told of a measurement; of short heads the cost alone."""
    what = f"{head} heads, {connections} connection{'s' * (connections > 1)}"
    at = f"{head}.{connections}"
    told = [(Row(f"cpu.{at}", f"CPU a request, {what}", "µs"), cost.cpu_us)]
    if head == "browser":
        told += [
            (Row(f"rate.{at}", f"requests a second, {what}", "/s"), cost.load.requests / cost.load.seconds),
            (Row(f"p50.{at}", f"p50, {what}", "µs"), cost.load.p50_us),
            (Row(f"p99.{at}", f"p99, {what}", "µs"), cost.load.p99_us),
        ]
    return told


def run(plan: Plan) -> None:
    """All peers are up at once, and each is idle while another has its turn."""
    with app(plan.place) as upstream, contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(proxy(name, upstream.port, plan.place)) for name in plan.peers}
        for name, server in servers.items():
            _warm(plan, name, server)
        for turn in plan.turns("requests"):
            for name, server in servers.items():
                plan.attempt(name, load.check, server.port)
            for head, connections in itertools.product(load.HEADS, plan.connections):
                for name in plan.order(turn):
                    measure = partial(load.measure, seconds=plan.seconds, seed=turn * 10 + len(head))
                    if cost := plan.attempt(name, measure, servers[name], upstream, head, connections):
                        _put(plan, turn, name, rows_of(head, connections, cost), busy=cost.busy)


def _warm(plan: Plan, name: str, server: Server) -> None:
    for head in load.HEADS:
        warm = partial(load.run, seconds=plan.warm_seconds, seed=1000)
        plan.attempt(name, warm, server.port, head, WARM_CONNECTIONS)


def _put(plan: Plan, turn: int, name: str, told: list[tuple[Row, float]], *, busy: float) -> None:
    for row, value in told:
        plan.results.put(row, name, turn, value, limited=row.unit == "/s" and busy < BUSY)
