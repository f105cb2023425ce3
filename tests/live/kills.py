"""Kill the agent again and again under traffic, with a listener that stays open: ``python -m tests.live.kills``.

With ``--restart`` it is stopped and started, as ``systemctl restart`` of the service does with its socket unit: then
nothing may fail but what meets the closing of an idle connection.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import socket
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live.agent import Agent, running
from tests.live.traffic import Traffic
from tests.story import problems

if TYPE_CHECKING:
    from collections.abc import Callable

BETWEEN_SECONDS = 1.5
CLOSE_SECONDS = 0.5
"""The seconds in which an agent that stops has closed its idle connections, on a busy machine."""
SHOWN = 20


@dataclass
class Failure:
    """A request without a correct answer; times are seconds since the epoch."""

    kind: str
    begun_at: float
    ended_at: float
    what: object


@dataclass
class Watched(Traffic):
    """Traffic whose failures are judged after the kills are known."""

    seen: list[Failure] = field(default_factory=list)

    def fail(self, kind: str, begun_at: float, what: object) -> None:
        self.seen.append(Failure(kind, begun_at, time.time(), what))


@dataclass
class Kill:
    """One kill between two times, and how long the next agent took to answer a request.

    On a machine that others use too, ``cpu_seconds`` says more than ``answer_seconds``.
    """

    after: float
    before: float
    answer_seconds: float
    cpu_seconds: float


@dataclass
class Outcome:
    """What was observed, and which of it is a fault."""

    traffic: Watched
    kills: list[Kill]
    in_flight: list[Failure]
    wrong: list[str]


def run(directory: Path, kills: int, *, is_restart: bool = False, **config: object) -> Outcome:
    """Set up a site in ``directory``, kill its agent under traffic, stop it, and report what was observed.

    Args:
        is_restart: the agent is not killed but stopped, and its app with it.
        config: keys of ``rainbowd.json``.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        agent_port = listener.getsockname()[1]
        with running(directory, listener, drain={"timeout": 20, "tunnels": 3}, **config) as agent:
            agent.port = agent_port
            traffic = Watched(agent.host, agent.port)
            before = {one["pid"] for one in agent.status()["generations"]}
            end = agent.stop if is_restart else agent.kill
            done = asyncio.run(again_and_again(agent, traffic, kills, end))
            after = {one["pid"] for one in agent.status()["generations"]}
            wrong = [] if before == after or is_restart else [f"the app was {before} and is {after}"]
            exit_status = agent.stop()
            wrong += [f"the agent's exit status is {exit_status}"] if exit_status else []
            wrong += [f"process {pid} is left" for pid in agent.processes()] + problems(agent.events())
            launched = [event for event in agent.events() if event["event"] == "generation.launched"]
            wrong += [f"launched {len(launched)} times"] if len(launched) != (kills + 1 if is_restart else 1) else []
    was_lost = met_a_close if is_restart else was_in_flight
    in_flight = [one for one in traffic.seen if any(was_lost(one, kill) for kill in done)]
    wrong += [f"not by that: {one}" for one in traffic.seen if one not in in_flight]
    return Outcome(traffic, done, in_flight, wrong)


def was_in_flight(failure: Failure, kill: Kill) -> bool:
    """Return whether the killed agent can have received the request."""
    return failure.begun_at <= kill.before and kill.after <= failure.ended_at


def met_a_close(failure: Failure, kill: Kill) -> bool:
    """Return whether the request met the closing of its idle connection: RFC 9112 section 9.5."""
    is_reset = isinstance(failure.what, ConnectionError)
    is_unanswered = is_reset or (isinstance(failure.what, asyncio.IncompleteReadError) and not failure.what.partial)
    is_then = failure.begun_at <= kill.after + CLOSE_SECONDS and kill.after <= failure.ended_at
    return is_then and is_unanswered and failure.kind != "fresh"


async def again_and_again(agent: Agent, traffic: Watched, count: int, end: Callable[[], object]) -> list[Kill]:
    """Kill and start the agent while all clients send requests."""
    async with asyncio.TaskGroup() as tasks:
        for client in traffic.clients():
            tasks.create_task(client)
        try:
            kills = []
            for _ in range(count):
                await asyncio.sleep(BETWEEN_SECONDS)
                kills.append(await asyncio.to_thread(kill_and_start, agent, end))
            await asyncio.sleep(BETWEEN_SECONDS)
        finally:
            traffic.over.set()
    return kills


def kill_and_start(agent: Agent, end: Callable[[], object]) -> Kill:
    after = time.time()
    end()
    before = time.time()
    started = time.monotonic()
    agent.start()
    connection = http.client.HTTPConnection(agent.host, agent.port, timeout=30)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    answer_seconds, cpu_seconds = time.monotonic() - started, agent.cpu_seconds()
    connection.close()
    return Kill(after, before, answer_seconds, cpu_seconds)


def report(outcome: Outcome) -> str:
    """Return the report as lines of text."""
    lines = [f"{count:8} {kind}" for kind, count in sorted(outcome.traffic.counts.items())]
    seconds = [kill.answer_seconds for kill in outcome.kills]
    lines.append(f"{len(seconds):8} kills")
    cpu_seconds = statistics.median(kill.cpu_seconds for kill in outcome.kills)
    lines.append(
        f"start to first answer: median {statistics.median(seconds):.3f} s, most {max(seconds):.3f} s, "
        f"of the processor {cpu_seconds:.2f} s"
    )
    lines.append(f"{len(outcome.in_flight):8} requests failed by that: in flight, or met by a close")
    lines += [f"FAILED {wrong}" for wrong in outcome.wrong[:SHOWN]]
    lines.append(f"{len(outcome.wrong)} lines of failure" if outcome.wrong else "no other failure")
    return "\n".join(lines)


def main() -> int:
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.kills", description="Kill the agent under traffic.")
    parser.add_argument("--kills", type=int, default=10, help="how many; default: %(default)s")
    parser.add_argument("--restart", action="store_true", help="stop and start it instead")
    parser.add_argument("--workers", type=int, default=1, help="how many processes serve; default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as directory:
        outcome = run(Path(directory), options.kills, is_restart=options.restart, workers=options.workers)
    print(report(outcome))
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
