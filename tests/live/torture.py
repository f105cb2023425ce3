"""Everything at once, at random, for as long as asked: ``python -m tests.live.torture --minutes 20 --seed 1``.

Deploys by every trigger, of releases as bad as they come, while apps, agents and their renewals are killed under
traffic.  Afterwards every request that failed has to have been in flight on a process when that was killed; nothing is
left; and the journal tells a story that can have happened.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live import storm, zoo
from tests.live.agent import Agent
from tests.live.kills import Failure, Watched
from tests.story import problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.live.agent import Event

CONFIG: dict[str, object] = {
    "run": [sys.executable, str(Path(__file__).with_name("zoo.py")), "{port}"],
    "health": {"path": "/up", "deadline": 6, "timeout": 2},
    "drain": {"timeout": 20, "tunnels": 2, "kill_after": 2},
    "hold": {"timeout": 25, "limit": 1000},
    "log": {"app": None},
}
NOTICE_SECONDS = 0.1
"""How long after a kill its effects may be new to anybody."""
SEEN_SECONDS = 0.5
"""How late on a busy machine the journal may tell of an app's end."""
SETTLE_SECONDS = 40.0
KEPT_RELEASES = 30
SHOWN = 25


@dataclass(frozen=True)
class Kill:
    """Something of ours ended a process, somewhere between two times in seconds since the epoch."""

    after: float
    before: float
    what: str


@dataclass
class Outcome:
    """What was done and seen, and what of it should not have been."""

    seed: int
    traffic: Watched
    done: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    kills: list[Kill] = field(default_factory=list)
    in_flight: list[Failure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Torturer:
    """Does one thing after the other to an agent.

    Attributes:
        frail: what is live would not survive another blow: the next thing is a good deploy.
    """

    def __init__(self, agent: Agent, dice: random.Random, outcome: Outcome) -> None:
        self._agent = agent
        self._dice = dice
        self._outcome = outcome
        self._number = 0
        self.frail = False
        self.deeds: list[tuple[int, Callable[[], None]]] = [
            (8, self.deploy_well),
            (4, self.deploy_badly),
            (2, self.burst),
            (2, self.signal),
            (3, self.kill_app),
            (1, self.kill_worker),
            (3, self.kill_agent),
            (2, self.renew),
            (2, self.freeze_candidate),
        ]

    def act(self) -> None:
        """Something."""
        if self.frail:
            self.deploy("good")
            self.await_decision()
            self.frail = False
            return
        weights, deeds = zip(*self.deeds, strict=True)
        (deed,) = self._dice.choices(deeds, weights)
        self._outcome.done[deed.__name__.replace("_", " ")] += 1
        deed()

    # --- deploys --------------------------------------------------------------------------------------------------

    def deploy(self, kind: str) -> None:
        """Turn the link to a new release of this kind."""
        self._number += 1
        name = f"r{self._number}-{kind}"
        self._agent.add_release(name, **(zoo.SERVING | zoo.FAILING)[kind])
        self._agent.flip(name)
        self._outcome.done[f"release {kind}"] += 1

    def deploy_well(self) -> None:
        kind = self._dice.choice(sorted(zoo.SERVING))
        self.deploy(kind)
        if kind in {"mortal", "vanishing"}:
            self.await_decision()
            time.sleep(self._dice.choice([0.5, 3.0]))
            self.frail = True
        elif self._dice.random() < 0.7:
            self.await_decision()

    def deploy_badly(self) -> None:
        self.deploy(self._dice.choice(sorted(zoo.FAILING)))
        if self._dice.random() < 0.7:
            self.await_decision()
        self.frail = True  # so that a start finds a link to something that works

    def burst(self) -> None:
        for _ in range(self._dice.randrange(3, 12)):
            if self._dice.random() < 0.5:
                self._agent.touch()
            else:
                self.deploy(self._dice.choice(["good", "slow"]))
            time.sleep(self._dice.choice([0.0, 0.02, 0.3]))
        self.await_decision()

    def signal(self) -> None:
        assert self._agent.process is not None
        self._agent.process.send_signal(signal.SIGHUP)
        self.await_decision()

    def await_decision(self) -> None:
        """Until nothing that was asked for is undecided."""

        def decided() -> Event | None:
            asked, done = deploys(self._agent.events())
            return {"event": "all"} if self.is_seen() and not asked - done else None

        self._agent.wait_until(decided, "all deploys to be decided")

    def is_seen(self) -> bool:
        """Whether the agent has noticed what the link names; a moment later it has begun with it."""
        with contextlib.suppress(OSError, ValueError):
            link = self._agent.link
            named = {str(link.resolve()), str(link.readlink())}  # as written where its release has vanished
            return self._agent.status()["wanted"] in named
        return False

    # --- blows ----------------------------------------------------------------------------------------------------

    def kill_app(self) -> None:
        live = self.generation("live")
        if live is not None:
            self.blow("app", lambda: kill(live["pid"], self._agent))

    def kill_worker(self) -> None:
        live = self.generation("live")
        others = [pid for pid in self._agent.processes() if live is not None and pid != live["pid"]]
        if others:
            self.blow("worker", lambda: kill(self._dice.choice(others), self._agent))

    def kill_agent(self) -> None:
        self.blow("agent", self._agent.kill)
        time.sleep(self._dice.choice([0.0, 0.3]))
        self._agent.start()
        self._agent.wait_until(self.ready, "an agent that is ready")

    def renew(self) -> None:
        outcome = self._agent.renew()
        if outcome["event"] != "agent.renewed":
            self._outcome.wrong.append(f"a renewal failed: {outcome}")

    def freeze_candidate(self) -> None:
        self.deploy("slow")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            candidate = self.generation("starting")
            if candidate is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(candidate["pid"], signal.SIGSTOP)
                break
            time.sleep(0.01)
        self.await_decision()
        self.frail = True

    def blow(self, what: str, strike: Callable[[], None]) -> None:
        after = time.time()
        strike()
        self._outcome.kills.append(Kill(after, time.time(), what))

    # --- what is there --------------------------------------------------------------------------------------------

    def generation(self, state: str) -> Event | None:
        with contextlib.suppress(OSError, ValueError):
            return next((one for one in self._agent.status()["generations"] if one["state"] == state), None)
        return None

    def ready(self) -> Event | None:
        assert self._agent.process is not None
        with contextlib.suppress(OSError, ValueError):
            agent: Event = self._agent.status()["agent"]
            return agent if (agent["pid"], agent["state"]) == (self._agent.process.pid, "ready") else None
        return None

    def tidy(self) -> None:
        """Remove releases that nothing needs any more, as deploy tools do."""
        used = {one["release"] for one in self._agent.status()["generations"]} | {str(self._agent.link.resolve())}
        releases = sorted((self._agent.directory / "releases").iterdir(), key=lambda one: one.stat().st_mtime)
        for release in releases[:-KEPT_RELEASES]:
            if str(release) not in used:
                shutil.rmtree(release)


def kill(pid: int, agent: Agent) -> None:
    """Kill one of ours, if it is there still."""
    if pid in agent.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def deploys(events: list[Event]) -> tuple[set[str], set[str]]:
    """Those that were asked for, and those that were decided."""
    ends = {"deploy.succeeded", "deploy.failed", "deploy.rolled_back"}
    asked = {event["deploy"] for event in events if event["event"] == "deploy.requested"}
    return asked, {event["deploy"] for event in events if event["event"] in ends}


def run(directory: Path, seconds: float, seed: int) -> Outcome:
    """Set up a site in ``directory``, torture it for so long, stop it, and judge what was seen."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        agent = Agent(directory, **CONFIG)
        agent.inherited, agent.port = listener, listener.getsockname()[1]
        outcome = Outcome(seed, Watched(agent.host, agent.port))
        torturer = Torturer(agent, random.Random(seed), outcome)
        torturer.deploy("good")
        agent.start()
        try:
            agent.decision(0, trigger="start")
            asyncio.run(torture(torturer, outcome.traffic, seconds))
            for process in agent.renewed:
                process.wait(SETTLE_SECONDS)
            exit_status = agent.stop()
            outcome.wrong += [f"the agent's exit status is {exit_status}"] if exit_status else []
            judge(agent, outcome)
            if outcome.wrong:
                outcome.wrong.insert(SHOWN, f"the agent's last lines:\n{agent.output(60)}")
        finally:
            agent.destroy()
    return outcome


async def torture(torturer: Torturer, traffic: Watched, seconds: float) -> None:
    """Act while all the clients ask; in the end all is well."""
    deadline = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for client in traffic.clients():
            tasks.create_task(client)
        try:
            while time.monotonic() < deadline:
                await asyncio.to_thread(torturer.act)
                await asyncio.to_thread(torturer.tidy)
            torturer.frail = True
            await asyncio.to_thread(torturer.act)
        finally:
            traffic.over.set()


def judge(agent: Agent, outcome: Outcome) -> None:
    """Tell what should not have been."""
    events = agent.events()
    outcome.events.update(event["event"] for event in events)
    died = [storm.at(event) for event in events if has_died(event)]
    kills = outcome.kills + [Kill(at - SEEN_SECONDS, at, "itself") for at in died]
    for failure in outcome.traffic.seen:
        explained = any(
            failure.begun_at <= kill.before + NOTICE_SECONDS and kill.after <= failure.ended_at for kill in kills
        )
        (outcome.in_flight if explained else outcome.wrong).append(failure if explained else f"lost: {failure}")  # type: ignore[arg-type]
    outcome.wrong += problems(events)
    outcome.wrong += [f"process {pid} is left" for pid in agent.processes()]
    kept = {"lock", "journal.jsonl", "status.json", "deploys.json", "generation"}
    left = [entry.name for entry in agent.state_dir.iterdir() if entry.name not in kept]
    outcome.wrong += [f"{name} is left in the state directory" for name in left]
    outcome.wrong += [f"bad release live: {event}" for event in events if is_bad(event)]
    asked, done = deploys(events)
    outcome.wrong += [f"deploy {deploy} was never decided" for deploy in asked - done]
    outcome.wrong += [f"a bug: {line}" for line in agent.output_file.read_text().splitlines() if "bug: " in line]


def has_died(event: Event) -> bool:
    """An app killed itself; or had to be killed, because it ignored its signal."""
    is_end = event["event"] == "generation.retired" and (event["killed"] or event["exit_status"] == -signal.SIGKILL)
    return bool(event["event"] == "generation.crashed" or is_end)


def is_bad(event: Event) -> bool:
    """A release that cannot pass its check went live."""
    return event["event"] == "generation.live" and Path(event["release"]).name.partition("-")[2] in zoo.FAILING


def report(outcome: Outcome) -> str:
    """What happened, in lines."""
    kills = Counter(kill.what for kill in outcome.kills)
    told = (outcome.traffic.counts, outcome.done, kills)
    lines = [f"seed {outcome.seed}", *(json.dumps(dict(sorted(counts.items()))) for counts in told)]
    lines.append(json.dumps(dict(sorted(outcome.events.items()))))
    lines.append(f"{len(outcome.in_flight)} requests were in flight on a process that was killed, and failed")
    lines += [f"FAILED {wrong}" for wrong in outcome.wrong[: SHOWN + 1]]
    lines.append(f"{len(outcome.wrong)} lines of failure" if outcome.wrong else "no other failure")
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.torture", description="Everything at once, at random.")
    parser.add_argument("--minutes", type=float, default=1.0, help="for how long; default: %(default)s")
    parser.add_argument("--seed", type=int, default=None, help="to do the same again, as far as time allows")
    parser.add_argument("--keep", type=Path, help="a directory for the site, which stays")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    with contextlib.ExitStack() as stack:
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        directory.mkdir(exist_ok=True)
        outcome = run(directory, options.minutes * 60, seed)
    print(report(outcome))
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
