"""Many deploys with canary and bake under traffic, every fifth of a bad release: ``python -m tests.live.safe_storm``.

The healthy releases fail now and then, too.  Half of the bad ones have no canary, so that the bake must find them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.live import storm
from tests.live.agent import Agent, command, free_port, running
from tests.live.api import Caller, enabled
from tests.live.client import BadAnswer, Client
from tests.live.storm import CLOCK_SECONDS, SLACK_SECONDS, SPREAD_SECONDS, TUNNELS_SECONDS, at
from tests.live.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.live.agent import Event

EVERY = 5
"""Each deploy of this number is of a bad release."""
BAD, OCCASIONAL = 5, 200
"""Of how many requests to ``/`` a bad release, and a healthy one, fails one."""
BAKE_SECONDS, STEP_SECONDS = 3.0, 1.0
STEPS = [20, 50]
GAP_SECONDS = 0.01
EARLY_SECONDS = 3.0
"""The seconds by which a generation can serve before the journal's entry of it."""
DECISION_SECONDS = 120.0

Interval = tuple[float, float]


@dataclass
class Visits(Traffic):
    """Traffic of many visitors, each with a connection; an answer of 500 by the app itself is not lost.

    Attributes:
        errors: how many of those each generation has given.
    """

    errors: Counter[int] = field(default_factory=Counter)

    async def connect(self) -> Client:
        """Open a connection as a new visitor."""
        return await Client.connect(self.host, self.port, [f"X-Visitor: {secrets.token_hex(4)}"])

    def fail(self, kind: str, begun_at: float, what: object) -> None:
        """Take note of a failure, or of the app's own error."""
        answer = what.answer if isinstance(what, BadAnswer) else None
        if answer is None or answer.status != 500 or "x-generation" not in answer.fields:
            super().fail(kind, begun_at, what)
            return
        self.accept(kind, begun_at, answer)
        self.errors[answer.generation] += 1


@dataclass
class Storm:
    """What was seen.

    Attributes:
        traffic: of the clients.
        outcomes: how many deploys of which kind have ended how.
        switches: when a generation went live, in seconds since the epoch.
        failures: what should not have been.
    """

    traffic: Visits
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    switches: list[float] = field(default_factory=list)

    def survivors(self) -> int:
        """Return how many WebSockets were open across a switch."""
        tunnels = self.traffic.tunnels
        return sum(any(one.opened_at < switch < one.ended_at for switch in self.switches) for one in tunnels)


def config(*, has_canary: bool = True) -> dict[str, Any]:
    """Return keys of ``rainbowd.json``."""
    canary = {"steps": STEPS if has_canary else [], "seconds": STEP_SECONDS, "by": "header:X-Visitor"}
    drain = {"timeout": 20, "tunnels": TUNNELS_SECONDS, "kill_after": 10}
    return {"bake": BAKE_SECONDS, "canary": canary, "drain": drain}


def run(directory: Path, deploys: int) -> Storm:
    """Set up a site in ``directory``, deploy it under traffic, stop it, and judge what was seen."""
    port = free_port()
    with running(directory, **config(), **enabled(port)) as agent:
        agent.patience_seconds = DECISION_SECONDS
        for name in ("v1", "v2"):
            agent.add_release(name, fail_every=OCCASIONAL)
        agent.add_release("bad", fail_every=BAD)
        storm_seen = Storm(Visits(agent.host, agent.port, gap_seconds=GAP_SECONDS))
        deployer = Deployer(agent, Caller(agent, port), enabled(port), storm_seen)
        asyncio.run(deployer.blow(deploys))
        failures = storm_seen.failures
        failures += [*storm_seen.traffic.failures, *(f"process {pid} was not reaped" for pid in storm.unreaped(agent))]
        if (exit_status := agent.stop()) != 0:
            failures.append(f"the agent's exit status is {exit_status}")
        events = agent.events()
        storm_seen.switches = [at(event) for event in events if event["event"] == "generation.live"]
        failures += misled(storm_seen.traffic, events) + misjudged_tunnels(storm_seen.traffic, events)
        failures += storm.leftovers(agent, events)
        if failures:
            failures.insert(storm.SHOWN, f"the agent's last lines:\n{agent.output()}")
    return storm_seen


class Deployer:
    """Requests the deploys in every way, and judges how each ends.

    Args:
        agent: runs the site.
        api: its API.
        keys: more keys of the config.
        seen: gets what was seen.
    """

    def __init__(self, agent: Agent, api: Caller, keys: dict[str, Any], seen: Storm) -> None:
        self._agent = agent
        self._api = api
        self._keys = keys
        self._seen = seen
        self._live = "a"

    async def blow(self, deploys: int) -> None:
        """Deploy while all the clients ask."""
        traffic = self._seen.traffic
        async with asyncio.TaskGroup() as tasks:
            for client in traffic.clients():
                tasks.create_task(client)
            try:
                await asyncio.sleep(BAKE_SECONDS)
                for number in range(deploys):
                    await asyncio.to_thread(self._deploy, number)
            finally:
                traffic.over.set()

    def _deploy(self, number: int) -> None:
        agent, since = self._agent, len(self._agent.events())
        is_bad = number % EVERY == EVERY - 1
        rounds = number // EVERY
        has_canary = not is_bad or rounds % 2 == 0
        agent.configure(**config(has_canary=has_canary), **self._keys)
        bad_ways = ("symlink", "command", "api")
        way = bad_ways[rounds % 3] if is_bad else ("symlink", "touch", "command", "signal")[number % EVERY]
        release = (
            "bad" if is_bad else self._live if way in {"touch", "signal"} else "v2" if self._live == "v1" else "v1"
        )
        begun_at = time.time()
        exit_status = self._request(way, release)
        decided = agent.decision(since)
        self._judge(decided, release, f"{'bad' if is_bad else 'healthy'} by {way}", begun_at)
        if exit_status not in {None, int(is_bad)}:
            self._seen.traffic.fail(f"{release} by {way}", begun_at, f"exit status {exit_status}")
        expected = release if way == "symlink" else self._live
        agent.wait_until(lambda: {} if agent.link.readlink().name == expected else None, f"the link to {expected}")
        if agent.link.readlink().name != self._live:
            since = len(agent.events())
            agent.flip(self._live)
            agent.wait_for("deploy.rolled_back", since)

    def _request(self, way: str, release: str) -> int | None:
        """Request a deploy, and return the exit status of the command if it is one."""
        agent = self._agent
        if way == "symlink":
            agent.flip(release)
        elif way == "touch":
            agent.touch()
        elif way == "signal":
            assert agent.process is not None
            agent.process.send_signal(signal.SIGHUP)
        elif way == "api":
            assert self._api.call("POST", "/redeploy", {"release": release}).status == 202
        else:
            words = command("deploy", "--config", str(agent.directory / "rainbowd.json"), release)
            return subprocess.run(words, capture_output=True, check=False, timeout=DECISION_SECONDS).returncode
        return None

    def _judge(self, decided: Event, release: str, what: str, begun_at: float) -> None:
        if decided["event"] == "deploy.succeeded":
            self._live, ended = release, f"succeeded after a bake of {BAKE_SECONDS:.0f} s"
            is_right = release != "bad" and decided["bake_seconds"] >= BAKE_SECONDS - CLOCK_SECONDS
        else:
            ended = "failed as a canary" if decided["canary_share"] is not None else "rolled back"
            is_right = release == "bad" and " requests failed (" in decided["reason"]
        self._seen.outcomes[f"{what}: {ended}"] += 1
        if not is_right:
            self._seen.traffic.fail(what, begun_at, decided)


def serving_times(events: Iterable[Event]) -> dict[int, list[Interval]]:
    """Return when each generation got new requests, as the live one or as a canary."""
    times: dict[int, list[Interval]] = {}
    live: int | None = None

    def begin(number: int, now: float) -> None:
        spans = times.setdefault(number, [])
        if not spans or spans[-1][1] != math.inf:
            spans.append((now, math.inf))

    def end(number: int | None, now: float) -> None:
        if number is not None and times.get(number, [(0.0, 0.0)])[-1][1] == math.inf:
            times[number][-1] = (times[number][-1][0], now)

    for event in events:
        number, now = event.get("generation"), at(event)
        if event["event"] == "generation.live":
            end(live, now)
            begin(event["generation"], now)
            live = number
        elif event["event"] == "generation.canary":
            begin(event["generation"], now)
        elif event["event"] == "generation.draining":
            end(number, now)
    return times


def misled(traffic: Traffic, events: list[Event]) -> list[str]:
    """Return the requests that were answered by a generation that got none when they began, or soon after it."""
    times = serving_times(events)
    return [
        f"{kind}: begun at {begun_at:.3f}; answered by generation {generation}, which served at {times.get(generation)}"
        for kind, begun_at, generation in traffic.answers
        if not any(begin - EARLY_SECONDS < begun_at < end + CLOCK_SECONDS for begin, end in times.get(generation, []))
    ]


def misjudged_tunnels(traffic: Traffic, events: list[Event]) -> list[str]:
    """Return the WebSockets that were closed before their generation had drained for long enough, or open after it."""
    draining = {event["generation"]: at(event) for event in events if event["event"] == "generation.draining"}
    found = []
    for tunnel in traffic.tunnels:
        after = tunnel.ended_at - draining.get(tunnel.generation, math.inf)
        if tunnel.closed and after < TUNNELS_SECONDS - CLOCK_SECONDS:
            found.append(f"websocket to generation {tunnel.generation}: closed {after:.3f} s after it began to drain")
        if after > TUNNELS_SECONDS + SPREAD_SECONDS + SLACK_SECONDS:
            found.append(f"websocket to generation {tunnel.generation}: still open {after:.1f} s after that")
    return found


def report(seen: Storm) -> str:
    """Return what happened, in lines."""
    traffic = seen.traffic
    lines = [f"{count:8} {kind}" for kind, count in sorted(traffic.counts.items())]
    lines.append(f"{sum(traffic.errors.values()):8} of these answered 500 by a release")
    lines += [f"{count:8} {outcome}" for outcome, count in sorted(seen.outcomes.items())]
    lines.append(f"{seen.survivors():8} of {len(traffic.tunnels)} websockets alive across a switch")
    lines += [f"FAILED {failure}" for failure in seen.failures[: storm.SHOWN + 1]]
    lines.append(f"{len(seen.failures)} lines of failure" if seen.failures else "no failure")
    return "\n".join(lines)


def main() -> int:
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.safe_storm", description="Deploy bad releases, too.")
    parser.add_argument("--deploys", type=int, default=20, help="how many; default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storm-") as directory:
        seen = run(Path(directory), options.deploys)
    print(report(seen))
    return 1 if seen.failures else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
