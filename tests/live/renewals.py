"""Renew the agent between and during deploys, under traffic: ``python -m tests.live.renewals``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live import storm
from tests.live.agent import Agent, running
from tests.live.traffic import Traffic
from tests.story import problems

if TYPE_CHECKING:
    from tests.live.agent import Event

BETWEEN_SECONDS = 0.3
TUNNELS_SECONDS = 3.0
TOLD_SECONDS = 1.0
"""How much later one of two agents may know what the other tells of, a renewal or a switch, on a busy machine."""
SHOWN = 20


@dataclass(frozen=True)
class Outcome:
    """What was seen, and what of it should not have been; ``seconds`` is how long each renewal took."""

    traffic: Traffic
    seconds: list[float]
    wrong: list[str]


def run(directory: Path, renewals: int) -> Outcome:
    """Set up a site in ``directory``, renew its agent under traffic, stop it, and judge what was seen."""
    drain = {"timeout": 20, "tunnels": TUNNELS_SECONDS, "kill_after": 10}
    with running(directory, drain=drain) as agent:
        traffic = Traffic(agent.host, agent.port)
        seconds, wrong = asyncio.run(again_and_again(agent, traffic, renewals))
        for process in agent.renewed:
            process.wait(30)
        exit_status = agent.stop()
        events = agent.events()
        wrong += [f"the agent's exit status is {exit_status}"] if exit_status else []
        lives = [(storm.at(event), event["generation"]) for event in events if event["event"] == "generation.live"]
        known = [(live_at + TOLD_SECONDS, generation) for live_at, generation in lives]
        wrong += [*traffic.failures, *storm.stale_answers(traffic, known), *problems(events)]
        wrong += storm.leftovers(agent, events) + closed_early(traffic, events)
    return Outcome(traffic, seconds, wrong)


def closed_early(traffic: Traffic, events: list[Event]) -> list[str]:
    """WebSockets that were closed although neither a switch nor a renewal was as long ago as ``drain.tunnels``."""
    turns = [storm.at(event) for event in events if event["event"] in {"generation.live", "agent.renewed"}]
    return [
        f"websocket to generation {tunnel.generation}: closed after {tunnel.ended_at - tunnel.opened_at:.3f} s"
        for tunnel in traffic.tunnels
        if tunnel.closed
        and not any(tunnel.opened_at <= turn <= tunnel.ended_at - TUNNELS_SECONDS + TOLD_SECONDS for turn in turns)
    ]


async def again_and_again(agent: Agent, traffic: Traffic, count: int) -> tuple[list[float], list[str]]:
    """Renew while all the clients ask: alone, after a deploy, and during one."""
    seconds, wrong = [], []
    async with asyncio.TaskGroup() as tasks:
        for client in traffic.clients():
            tasks.create_task(client)
        try:
            await asyncio.sleep(BETWEEN_SECONDS)
            for number in range(count):
                since = len(agent.events())
                pids = {one["id"]: one["pid"] for one in agent.status()["generations"]}
                if number % 3 == 1:
                    agent.flip("ba"[number // 3 % 2])
                elif number % 3 == 2:
                    agent.touch()
                    await asyncio.sleep(0.05)  # so that the deploy is under way
                begun_at = time.monotonic()
                outcome = await asyncio.to_thread(agent.renew)
                seconds.append(time.monotonic() - begun_at)
                if outcome["event"] != "agent.renewed":
                    wrong.append(f"renewal {number}: {outcome}")
                if number % 3:
                    decided = await asyncio.to_thread(agent.decision, since)
                    wrong += [f"{decided}"] if decided["event"] != "deploy.succeeded" else []
                await asyncio.to_thread(agent.wait_until, agent.status, "a status")
                moved = [one for one in agent.status()["generations"] if pids.get(one["id"], one["pid"]) != one["pid"]]
                wrong += [f"another process now: {one}" for one in moved]
                await asyncio.sleep(BETWEEN_SECONDS)
        finally:
            traffic.over.set()
    return seconds, wrong


def report(outcome: Outcome) -> str:
    """What happened, in lines."""
    lines = [f"{count:8} {kind}" for kind, count in sorted(outcome.traffic.counts.items())]
    seconds = outcome.seconds
    lines.append(f"{len(seconds):8} renewals: median {statistics.median(seconds):.3f} s, most {max(seconds):.3f} s")
    lines += [f"FAILED {wrong}" for wrong in outcome.wrong[:SHOWN]]
    lines.append(f"{len(outcome.wrong)} lines of failure" if outcome.wrong else "no failure")
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.renewals", description="Renew under traffic.")
    parser.add_argument("--renewals", type=int, default=20, help="how many; default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="renewals-") as directory:
        outcome = run(Path(directory), options.renewals)
        if outcome.wrong:
            print((Path(directory) / "agent.log").read_text()[-6000:])
    print(report(outcome))
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
