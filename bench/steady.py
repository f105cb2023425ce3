"""A run of minutes: whether a request costs at the end what it cost at the beginning."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from bench import load
from bench.proxies import app, proxy
from bench.table import number

if TYPE_CHECKING:
    from bench.plan import Plan

HEAD = "browser"
CONNECTIONS = 32
MINUTE_SECONDS = 60.0


def run(plan: Plan, minutes: int) -> None:
    """Print each minute, in which all peers take turns, and then the last minute compared with the first."""
    seconds = MINUTE_SECONDS / len(plan.peers)
    costs: dict[str, list[float]] = {name: [] for name in plan.peers}
    print(f"CPU us a request and memory in MiB, {HEAD} heads, {CONNECTIONS} connections, {seconds:.0f} s a minute each")
    with app(plan.place) as upstream, contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(proxy(name, upstream.port, plan.place)) for name in plan.peers}
        for name, server in servers.items():
            warm = partial(load.run, seconds=plan.warm_seconds, seed=1000)
            plan.attempt(name, warm, server.port, HEAD, CONNECTIONS)
        for minute in range(minutes):
            measure = partial(load.measure, seconds=seconds, seed=minute)
            for name, server in servers.items():
                if cost := plan.attempt(name, measure, server, upstream, HEAD, CONNECTIONS):
                    costs[name].append(cost.cpu_us)
                    print(_line(minute + 1, name, cost.cpu_us, server.memory_kib()), flush=True)
    for name, cost_us in costs.items():
        if cost_us:
            print(f"{name}: last minute / first {cost_us[-1] / cost_us[0]:.2f}")


def _line(minute: int, name: str, cpu_us: float, memory_kib: float) -> str:
    return f"minute {minute:3}  {name:10}  {number(cpu_us):>6} us  {number(memory_kib / 1024):>6} MiB"
