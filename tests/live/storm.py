"""Many deploys under traffic that never pauses, and what went wrong: ``python -m tests.live.storm``.

The site's releases are flipped and touched in turn while clients of every kind ask without a break.  The
journal then says when each switch was, and so which answers came from a generation not to be asked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests import accounts
from tests.live.agent import APP, Agent, free_port, pids, running
from tests.live.api import Caller, enabled
from tests.live.soak_traffic import rough_clients
from tests.live.traffic import Traffic

if TYPE_CHECKING:
    from tests.live.agent import Event

TUNNELS_SECONDS = 3.0
SPREAD_SECONDS = 5.0
"""The seconds over which the agent spreads the closing of tunnels."""
SLACK_SECONDS = 30.0
"""The seconds by which an end can be noticed too late on a busy machine."""
CLOCK_SECONDS = 0.005
"""The precision of the journal's times in seconds; they are written in milliseconds."""
REAPED_SECONDS = 10.0
LOOK_SECONDS = 0.05
GAP_SECONDS = 0.3
SCRAPE_SECONDS = 0.5
SHOWN = 40
"""The greatest number of failures that a report lists."""

Lives = list[tuple[float, int]]
"""The time at which each generation became live."""


@dataclass(frozen=True)
class Switch:
    """One deploy as its deployer sees it: ``seconds`` from the request until it is live."""

    generation: int
    trigger: str
    live_at: float
    seconds: float


@dataclass(frozen=True)
class Storm:
    """What was observed, and which of it is a fault."""

    traffic: Traffic
    switches: list[Switch]
    failures: list[str]


def run(directory: Path, deploys: int, *, full: bool = False, by_api: bool = False, **config: object) -> Storm:
    """Set up a site in ``directory``, deploy it under traffic, stop it, and report what was observed.

    Args:
        full: nobody pauses, neither clients nor deploys, and there are the rough clients of the soak too.
        by_api: ask for the deploys by calls, and scrape the metrics all the time.
        config: keys of ``rainbowd.json``.
    """
    drain = {"timeout": 20, "tunnels": TUNNELS_SECONDS, "kill_after": 10}
    api_port = free_port()
    with running(directory, drain=drain, **(enabled(api_port) if by_api else {}), **config) as agent:
        api = Caller(agent, api_port) if by_api else None
        traffic = Traffic(agent.host, agent.port)
        if full:
            traffic.message_gap_seconds = 0.0
        switches = asyncio.run(blow(agent, traffic, deploys, full=full, api=api))
        failures = [*traffic.failures, *(f"process {pid} was not reaped" for pid in unreaped(agent))]
        workers = agent.workers()
        exit_status = agent.stop()
        failures += [f"worker {pid} is left" for pid in workers if pid in pids()]
        if exit_status != 0:
            failures.append(f"the agent's exit status is {exit_status}")
        events = agent.events()
        lives = [(at(event), event["generation"]) for event in events if event["event"] == "generation.live"]
        failures += stale_answers(traffic, lives) + misjudged_tunnels(traffic, lives)
        failures += leftovers(agent, events)
        if failures:
            failures.insert(SHOWN, f"the agent's last lines:\n{agent.output()}")
    return Storm(traffic, switches, failures)


def unreaped(agent: Agent) -> list[int]:
    """Return the zombies that remain: an app that has just ended is reaped a moment later."""
    deadline = time.monotonic() + REAPED_SECONDS
    while (found := agent.zombies()) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return found


async def blow(
    agent: Agent, traffic: Traffic, deploys: int, *, full: bool = False, api: Caller | None = None
) -> list[Switch]:
    """Deploy while all clients send requests."""
    gap_seconds = 0.0 if full else GAP_SECONDS
    async with asyncio.TaskGroup() as tasks:
        if api is not None:
            tasks.create_task(scrape(api, traffic))
        for client in (*traffic.clients(), *(rough_clients(traffic) if full else ())):
            tasks.create_task(client)
        try:
            await asyncio.sleep(0.5)
            switches = await deploy_again_and_again(agent, traffic, deploys, gap_seconds=gap_seconds, api=api)
            await asyncio.sleep(0.5)
        finally:
            traffic.over.set()
    return switches


async def scrape(api: Caller, traffic: Traffic) -> None:
    """Read the metrics repeatedly."""
    while not traffic.over.is_set():
        begun_at = time.time()
        answer = await asyncio.to_thread(api.call, "GET", "/metrics")
        if answer.status != 200:
            traffic.fail("metrics", begun_at, answer)
        traffic.counts["metrics"] += 1
        await asyncio.sleep(SCRAPE_SECONDS)


async def deploy_again_and_again(
    agent: Agent, traffic: Traffic, deploys: int, *, gap_seconds: float, api: Caller | None = None
) -> list[Switch]:
    """Switch the link and touch the trigger in turn, or call the API, each after the last outcome."""
    switches = []
    for number in range(deploys):
        since = len(agent.events())
        trigger = "file" if number % 2 else "symlink"
        release = "ba"[number // 2 % 2]
        begun_at = time.time()
        if api is not None:
            told = {"release": release} if trigger == "symlink" else None
            trigger = "api"
            asked = await asyncio.to_thread(api.call, "POST", "/redeploy", told)
            if asked.status != 202:
                traffic.fail(f"call for {release}", begun_at, asked)
        elif trigger == "file":
            agent.touch()
        else:
            agent.flip(release)
        decided = await asyncio.to_thread(agent.decision, since, trigger=trigger)
        if decided["event"] != "deploy.succeeded" or Path(decided["release"]).name != release:
            traffic.fail(f"deploy of {release} by {trigger}", begun_at, decided)
            continue
        live = agent.wait_for("generation.live", since, generation=decided["generation"])
        switches.append(Switch(live["generation"], trigger, at(live), at(live) - begun_at))
        await asyncio.sleep(gap_seconds * (number % 3))  # some follow each other closely, some do not
    return switches


def at(event: Event) -> float:
    """Return the time of an event, in seconds since the epoch."""
    return datetime.fromisoformat(event["at"]).timestamp()


def stale_answers(traffic: Traffic, lives: Lives) -> list[str]:
    """Return the requests that began after a switch and that an earlier generation answered."""
    found = []
    for kind, begun_at, generation in traffic.answers:
        due = max((number for live_at, number in lives if live_at + CLOCK_SECONDS < begun_at), default=0)
        if generation < due:
            found.append(f"{kind}: answered by generation {generation} when {due} was live")
    return found


def misjudged_tunnels(traffic: Traffic, lives: Lives) -> list[str]:
    """Return the WebSockets that were closed too early, or long after their time."""
    found = []
    for tunnel in traffic.tunnels:
        switched_at = min((live_at for live_at, number in lives if number > tunnel.generation), default=None)
        after = float("-inf") if switched_at is None else tunnel.ended_at - switched_at
        where = f"websocket to generation {tunnel.generation}"
        if tunnel.closed and after < TUNNELS_SECONDS - CLOCK_SECONDS:
            found.append(f"{where}: closed {after:.3f} s after the switch from it")
        if after > TUNNELS_SECONDS + SPREAD_SECONDS + SLACK_SECONDS:
            found.append(f"{where}: still open {after:.1f} s after the switch from it")
    return found


def leftovers(agent: Agent, events: list[Event]) -> list[str]:
    """Return the processes that a stopped agent left, and those that it had to kill."""
    found = [f"process {pid} is left" for pid in agent.processes()]
    found += [f"crashed: {event}" for event in events if event["event"] == "generation.crashed"]
    launched = {event["generation"] for event in events if event["event"] == "generation.launched"}
    retired = {event["generation"]: event for event in events if event["event"] == "generation.retired"}
    found += [f"generation {number} was never retired" for number in sorted(launched - retired.keys())]
    return found + [f"not a clean end: {end}" for end in retired.values() if end["killed"] or end["left"]]


def survivors(storm: Storm) -> int:
    """Return how many WebSockets lived across a switch."""
    return sum(
        any(tunnel.opened_at < switch.live_at < tunnel.ended_at for switch in storm.switches)
        for tunnel in storm.traffic.tunnels
    )


def report(storm: Storm) -> str:
    """Return the report as lines of text."""
    lines = [f"{count:8} {kind}" for kind, count in sorted(storm.traffic.counts.items())]
    lines.append(f"{survivors(storm):8} of {len(storm.traffic.tunnels)} websockets alive across a switch")
    lines.append(f"{len(storm.switches):8} deploys")
    for trigger in ("symlink", "file", "api"):
        boot_seconds = storm.traffic.boot_seconds
        beyond_boot_ms = [
            (switch.seconds - boot_seconds[switch.generation]) * 1000
            for switch in storm.switches
            if switch.trigger == trigger and switch.generation in boot_seconds
        ]
        if beyond_boot_ms:
            middle, most = statistics.median(beyond_boot_ms), max(beyond_boot_ms)
            lines.append(f"{trigger} to live beyond the app's boot: median {middle:.0f} ms, most {most:.0f}")
    lines += [f"FAILED {failure}" for failure in storm.failures[: SHOWN + 1]]
    lines.append(f"{len(storm.failures)} lines of failure" if storm.failures else "no failure")
    return "\n".join(lines)


def as_another_user(directory: Path) -> dict[str, object]:
    """Return keys for an app of another user, with hooks that leave processes running."""
    directory.chmod(0o755)
    app = str(shutil.copy(APP, directory / "app.py"))
    leave = "(setsid sleep 300 &); sleep 301 & echo $RAINBOWD_HOOK"
    hooks = dict.fromkeys(("before_launch", "after_live", "after_failure"), leave)
    return {"run": [accounts.python(), app, "{port}"], "user": accounts.USER, "hooks": hooks}


def main() -> int:
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.storm", description="Deploy under traffic.")
    parser.add_argument("--deploys", type=int, default=20, help="how many; default: %(default)s")
    parser.add_argument("--full", action="store_true", help="load without pauses, and rough clients too")
    parser.add_argument("--another-user", action="store_true", help=f"with hooks, all as {accounts.USER}; for root")
    parser.add_argument("--workers", type=int, default=1, help="how many processes serve; default: %(default)s")
    parser.add_argument("--api", action="store_true", help="ask for the deploys by calls of the API")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storm-") as directory:
        config: dict[str, object] = as_another_user(Path(directory)) if options.another_user else {}
        config["workers"] = options.workers
        storm = run(Path(directory), options.deploys, full=options.full, by_api=options.api, **config)
    print(report(storm))
    return 1 if storm.failures else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
