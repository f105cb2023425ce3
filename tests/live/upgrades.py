"""Upgrade the agent in every way and at every moment, under traffic: ``python -m tests.live.upgrades``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live import storm
from tests.live.agent import free_port, pids, running
from tests.live.api import Caller, enabled
from tests.live.traffic import Traffic
from tests.live.ways_to_upgrade import WAYS, Site, Way
from tests.story import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.live.agent import Event

BETWEEN_SECONDS = 0.3
TUNNELS_SECONDS = 3.0
TOLD_SECONDS = 1.0
"""The seconds by which one agent can learn of the other's upgrade or switch too late on a busy machine."""
SHOWN = 20


@dataclass(frozen=True)
class Outcome:
    """What was observed, and which of it is a fault; ``seconds`` is how long each way took."""

    traffic: Traffic
    seconds: list[float]
    upgrades: int
    wrong: list[str]


def run(directory: Path, ways: Sequence[Way], workers: Sequence[int] = (1,)) -> Outcome:
    """Set up a site in ``directory``, upgrade its agent under traffic, stop it, and report what was observed.

    Args:
        workers: how many processes serve, before the first upgrade and after each, again and again.
    """
    drain = {"timeout": 20, "tunnels": TUNNELS_SECONDS, "kill_after": 10}
    api_port = free_port()
    config = {"drain": drain, **enabled(api_port)}
    with running(directory, workers=workers[0], **config) as agent:
        traffic, site = Traffic(agent.host, agent.port), Site(agent, Caller(agent, api_port))
        counts = itertools.cycle([*workers[1:], workers[0]])
        asyncio.run(again_and_again(site, traffic, ways, lambda: agent.configure(workers=next(counts), **config)))
        site.settle()
        last = agent.workers()
        exit_status = agent.stop()
        events, wrong = agent.events(), site.wrong
        wrong += [f"worker {pid} is left" for pid in last if pid in pids()]
        wrong += [f"the agent's exit status is {exit_status}"] if exit_status else []
        lives = [(storm.at(event), event["generation"]) for event in events if event["event"] == "generation.live"]
        known = [(live_at + TOLD_SECONDS, generation) for live_at, generation in lives]
        wrong += [*traffic.failures, *storm.stale_answers(traffic, known), *problems(events)]
        wrong += storm.leftovers(agent, events) + closed_early(traffic, events) + launched_in_vain(events)
        wrong += [f"agent {pid} is left" for pid in agent.agents()]
    upgrades = sum(event["event"] == "agent.upgraded" for event in events)
    return Outcome(traffic, site.seconds, upgrades, wrong)


def launched_in_vain(events: list[Event]) -> list[str]:
    """Return the launches that no deploy requested."""
    launched = [event for event in events if event["event"] == "generation.launched"]
    return [f"launched: {event}" for event in launched if event["relaunch"] or event["deploy"] is None]


def closed_early(traffic: Traffic, events: list[Event]) -> list[str]:
    """Return the WebSockets that were closed before ``drain.tunnels`` had passed after a switch or an upgrade."""
    turns = [storm.at(event) for event in events if event["event"] in {"generation.live", "agent.upgraded"}]
    return [
        f"websocket to generation {tunnel.generation}: closed after {tunnel.ended_at - tunnel.opened_at:.3f} s"
        for tunnel in traffic.tunnels
        if tunnel.closed
        and not any(tunnel.opened_at <= turn <= tunnel.ended_at - TUNNELS_SECONDS + TOLD_SECONDS for turn in turns)
    ]


async def again_and_again(site: Site, traffic: Traffic, ways: Sequence[Way], prepare: Callable[[], None]) -> None:
    """Upgrade while all clients send requests, one way after the other."""
    async with asyncio.TaskGroup() as tasks:
        for client in traffic.clients():
            tasks.create_task(client)
        try:
            for way in ways:
                await asyncio.sleep(BETWEEN_SECONDS)
                prepare()
                await asyncio.to_thread(site.go, way)
            await asyncio.sleep(BETWEEN_SECONDS)
        finally:
            traffic.over.set()


def report(outcome: Outcome) -> str:
    """Return the report as lines of text."""
    lines = [f"{count:8} {kind}" for kind, count in sorted(outcome.traffic.counts.items())]
    seconds = outcome.seconds
    lines.append(f"{outcome.upgrades:8} upgrades")
    lines.append(f"{len(seconds):8} times asked: median {statistics.median(seconds):.3f} s, most {max(seconds):.3f} s")
    lines += [f"FAILED {wrong}" for wrong in outcome.wrong[:SHOWN]]
    lines.append(f"{len(outcome.wrong)} lines of failure" if outcome.wrong else "no failure")
    return "\n".join(lines)


def main() -> int:
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.upgrades", description="Upgrade under traffic.")
    parser.add_argument("--upgrades", type=int, default=20, help="how often; default: %(default)s")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="how many processes serve, in turn")
    options = parser.parse_args()
    ways = [WAYS[number % len(WAYS)] for number in range(options.upgrades)]
    with tempfile.TemporaryDirectory(prefix="upgrades-") as directory:
        outcome = run(Path(directory), ways, options.workers)
        if outcome.wrong:
            print((Path(directory) / "agent.log").read_text()[-6000:])
    print(report(outcome))
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
