"""Two processes of rainbowd compared with one: what a request costs, how many there are a second, and the memory."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bench import load
from bench.machine import HOST, Server, find, free_port, running
from bench.proxies import OURS, environment_of, fill_in, rainbowd
from bench.results import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.plan import Plan

HEAD = "browser"
PROCESSES = (1, 2)
WARM_CONNECTIONS = 64
MEMORY = Row("workers.memory", "memory of one further worker after some load", "KiB")


@dataclass(frozen=True)
class Agent:
    """An agent that serves with some processes.

    Attributes:
        server: the agent, its workers, and the app.
        app: the app, of which rainbowd is the parent.
    """

    server: Server
    app: Server

    @property
    def port(self) -> int:
        """The port that rainbowd listens on."""
        return self.server.port

    def cpu_seconds(self) -> float:
        """What all processes of rainbowd have used so far."""
        return self.server.cpu_seconds() - self.app.cpu_seconds()

    def memory_kib(self) -> float:
        """The proportional set size of all processes of rainbowd."""
        return self.server.memory_kib() - self.app.memory_kib()


def run(plan: Plan) -> None:
    """Measure each rainbowd with one and with two processes in turn; the load is on the same two cores."""
    names = [name for name in plan.peers if name in OURS]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, both(plan))
    try:
        with contextlib.ExitStack() as stack:
            agents = {
                (name, processes): stack.enter_context(agent(plan, name, processes))
                for name in names
                for processes in PROCESSES
            }
            for (name, _), each in agents.items():
                warm = partial(load.run, seconds=plan.warm_seconds, seed=1000)
                plan.attempt(name, warm, each.port, HEAD, WARM_CONNECTIONS)
            for turn in plan.turns("workers"):
                for name in (each for each in plan.order(turn) if each in names):
                    _compare(plan, turn, name, agents[name, 1], agents[name, 2])
    finally:
        os.sched_setaffinity(0, before)


def _compare(plan: Plan, turn: int, name: str, one: Agent, two: Agent) -> None:
    """Measure both, another one first in each round."""
    for connections in (count for count in plan.connections if count > 1):  # one has only one process to serve it
        measure = partial(load.measure, seconds=plan.seconds, seed=turn)
        step = 1 if turn % 2 else -1
        costs = [plan.attempt(name, measure, each, each.app, HEAD, connections) for each in (one, two)[::step]]
        first, second = costs[::step]
        if first is not None and second is not None and first.cpu_us:
            for row, value in rows_of(connections, first, second):
                plan.results.put(row, name, turn, value)
    plan.results.put(MEMORY, name, turn, two.memory_kib() - one.memory_kib())


def rows_of(connections: int, one: load.Cost, two: load.Cost) -> list[tuple[Row, float]]:
    """Return what two processes need and reach, compared with one."""
    what = f"2 processes / 1, {HEAD} heads, {connections} connections"
    rates = [cost.load.requests / cost.load.seconds for cost in (one, two)]
    return [
        (Row(f"workers.cpu.{connections}", f"CPU a request, {what}", "x"), two.cpu_us / one.cpu_us),
        (Row(f"workers.rate.{connections}", f"requests a second, {what}", "x"), rates[1] / rates[0]),
        (Row(f"workers.busy.{connections}", f"cores that rainbowd used, {what}", "x"), two.busy / one.busy),
    ]


def both(plan: Plan) -> set[int]:
    """Return both cores."""
    return {plan.place.proxy_core, plan.place.load_core}


@contextlib.contextmanager
def agent(plan: Plan, name: str, processes: int) -> Iterator[Agent]:
    """An agent whose app is the upstream of all parts: nginx."""
    port = free_port()
    directory = plan.place.scratch / f"{name}-{processes}"
    directory.mkdir()
    template = fill_in("upstream.conf", replace(plan.place, scratch=directory), port="APP_PORT")
    upstream = directory / "upstream.conf"
    start = f"sed s/APP_PORT/{{port}}/ {template} > {upstream} && exec {find('nginx')} -c {upstream}"
    config = {
        "run": ["sh", "-c", start],
        "health": "/short/up",
        "release": str(directory),
        "listen": f"{HOST}:{port}",
        "state_dir": str(directory),
        "workers": processes,
        "limits": {"connections": None, "idle_timeout": 600},
    }
    file = directory / "rainbowd.json"
    file.write_text(json.dumps(config))
    command = [*rainbowd(name, plan.place), "--config", str(file)]
    log = plan.place.scratch / f"{directory.name}.log"
    environment = environment_of(name, plan.place)
    with running(command, port, cores=sorted(both(plan)), log=log, environment=environment) as server:
        load.check(port)  # it is answered as soon as the app is live
        app_port = upstream.read_text().partition(f"listen {HOST}:")[2].partition(" ")[0]
        yield Agent(server, Server(int((directory / "upstream.pid").read_text()), int(app_port)))
