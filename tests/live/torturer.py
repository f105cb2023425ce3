"""The acts of a torture: one after the other, at random."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live import zoo
from tests.live.agent import ROOT
from tests.live.api import listening
from tests.live.judgement import LEAK_DESCRIPTORS, Kill, Outcome, deploys, held

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.live.agent import Agent, Event
    from tests.live.api import Caller

HOOK = 'echo "$RAINBOWD_HOOK $RAINBOWD_GENERATION"; (setsid sleep 300 &)'
CHANGES: dict[str, list[object]] = {
    "standby": [0, 2, 30],
    "max_generations": [2, 4, 10],
    "hooks": [{}, dict.fromkeys(("before_launch", "after_live", "after_failure"), HOOK)],
}
"""The keys of the config that a deployer changes meanwhile."""
SETTLE_SECONDS = 40.0
KEPT_RELEASES = 30


class Torturer:
    """The acts on one agent, one after the other.

    Attributes:
        frail: what is live would not survive another blow: the next thing is a good deploy.
    """

    def __init__(
        self, agent: Agent, config: dict[str, object], api: Caller, dice: random.Random, outcome: Outcome
    ) -> None:
        self._agent = agent
        self._api = api
        self._config = config
        self._dice = dice
        self._outcome = outcome
        self._number = 0
        self.frail = False
        self.deeds: list[tuple[int, Callable[[], None]]] = [
            (8, self.deploy_well),
            (4, self.deploy_badly),
            (2, self.burst),
            (2, self.signal),
            (2, self.call),
            (2, self.command),
            (2, self.roll_back),
            (2, self.reconfigure),
            (3, self.kill_app),
            (1, self.kill_worker),
            (2, self.kill_companion),
            (1, self.restart_companion),
            (3, self.kill_agent),
            (2, self.upgrade),
            (2, self.freeze_candidate),
        ]

    def act(self) -> None:
        """Do one act, chosen at random."""
        if self.frail:
            self.deploy("good")
            self.await_decision()
            self.frail = False
            return
        weights, deeds = zip(*self.deeds, strict=True)
        (deed,) = self._dice.choices(deeds, weights)
        self._outcome.done[deed.__name__.replace("_", " ")] += 1
        deed()

    def finish(self) -> None:
        """Check at the end that a good release is live and answers."""
        self._config |= {key: values[0] for key, values in CHANGES.items()}
        self._agent.configure(**self._config)
        self.frail = True
        self.act()

    # --- deploys --------------------------------------------------------------------------------------------------

    def deploy(self, kind: str) -> None:
        """Switch the link to a new release of this kind."""
        self._agent.flip(self.release(kind))

    def release(self, kind: str) -> str:
        """Make a new release of this kind, and return its name."""
        self._number += 1
        name = f"r{self._number}-{kind}"
        self._agent.add_release(name, **(zoo.SERVING | zoo.FAILING)[kind])
        self._outcome.done[f"release {kind}"] += 1
        return name

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

    def call(self) -> None:
        """Request a deploy over the API, of the linked release or of another."""
        told = self._dice.choice([None, {"release": self.release("good")}, {"release": self.release("exits")}])
        self._api.until_it_listens()
        answer = self._api.call("POST", "/redeploy", told)
        if answer.status != 202:
            self._outcome.wrong.append(f"a call: {answer}")
        self.await_decision()

    def command(self) -> None:
        """Run the commands that people run."""
        kind = self._dice.choice(["good", "slow", "workers", "exits"])
        self.ask("deploy", self.release(kind), exit_status=1 if kind in zoo.FAILING else 0)

    def roll_back(self) -> None:
        self.await_decision()
        self.ask("rollback", exit_status=None)

    def ask(self, *words: str, exit_status: int | None) -> None:
        """Run a command; None accepts every exit status."""
        command = [sys.executable, "-m", "rainbowd", *words, "--timeout", "60"]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        env = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(
            command, cwd=self._agent.directory, env=env, capture_output=True, text=True, timeout=90, check=False
        )
        excuses = "no longer exists", "no generation is live"
        is_usual = exit_status is None and (done.returncode in {0, 1} or any(one in done.stderr for one in excuses))
        if done.returncode != exit_status and not is_usual:
            self._outcome.wrong.append(f"{words} exits with {done.returncode}: {done.stdout}{done.stderr}")

    def reconfigure(self) -> None:
        """Edit the config, which the next deploy reads."""
        key, values = self._dice.choice(sorted(CHANGES.items()))
        self._config[key] = self._dice.choice(values)
        self._agent.configure(**self._config)

    def await_decision(self) -> None:
        """Wait until every requested deploy has an outcome."""

        def decided() -> Event | None:
            events = self._agent.events()
            asked, done = deploys(events)
            return {"event": "all"} if self.is_asked_for(events) and not asked - done else None

        self._agent.wait_until(decided, "all deploys to be decided")

    def is_asked_for(self, events: list[Event]) -> bool:
        """Return whether the last deploy was of the linked release, or its failure has restored the link."""
        with contextlib.suppress(OSError):
            link = self._agent.link
            named = {str(link.resolve()), str(link.readlink())}  # as written where its release has vanished
            turned = {"deploy.requested", "link.restored"}
            return next(e["release"] for e in reversed(events) if e["event"] in turned) in named
        return False

    # --- blows ----------------------------------------------------------------------------------------------------

    def kill_app(self) -> None:
        """Return the process that serves for the live generation: the child, or its daemon."""
        live = self.generation("live")
        port = live["address"].rpartition(":")[2] if live is not None else ""
        for pid in self._agent.processes():
            if port in serving(pid):
                self.blow("app", lambda pid=pid: kill(pid))  # type: ignore[misc]

    def kill_worker(self) -> None:
        """Return a process that does not serve, so that no client should notice its end."""
        others = [pid for pid in self._agent.processes() if not serving(pid) and is_worker(pid)]
        if others:
            kill(self._dice.choice(others))
            self._outcome.done["worker killed"] += 1

    def kill_companion(self) -> None:
        """Kill any companion process; the agent starts it again."""
        live = self.generation("live")
        pids = [one["pid"] for one in (live or {}).get("processes", []) if one["pid"] is not None]
        if pids:
            kill(self._dice.choice(pids))

    def restart_companion(self) -> None:
        """Restart companion processes as a deployer does, if a generation is live all the while."""
        if self.generation("live") is not None:
            self.ask("restart", self._dice.choice(["worker", "beat"]), exit_status=None)

    def kill_agent(self) -> None:
        self.blow("agent", self._agent.kill)
        time.sleep(self._dice.choice([0.0, 0.3]))
        self._agent.start()
        self._agent.wait_until(self.ready, "an agent that is ready")

    def upgrade(self) -> None:
        outcome = self._agent.upgrade()
        if outcome["event"] != "agent.upgraded":
            self._outcome.wrong.append(f"an upgrade failed: {outcome}")

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

    def settle(self, descriptors: int) -> None:
        """Check that nothing is left of earlier generations while one keeps running.

        Args:
            descriptors: how many the agent had with one generation, before all.
        """

        def is_settled() -> bool:
            is_alone = len(self._agent.status()["generations"]) == 1
            return is_alone and not self._agent.zombies() and held(self._agent) <= descriptors + LEAK_DESCRIPTORS

        deadline = time.monotonic() + SETTLE_SECONDS
        while not is_settled() and time.monotonic() < deadline:
            time.sleep(0.1)
        if not is_settled():
            left = f"{held(self._agent)} descriptors (before: {descriptors}), zombies {self._agent.zombies()}"
            self._outcome.wrong.append(f"does not settle: {left}, {self._agent.status()['generations']}")

    def tidy(self) -> None:
        """Remove releases that are not in use, as deploy tools do."""
        used = {one["release"] for one in self._agent.status()["generations"]} | {str(self._agent.link.resolve())}
        releases = sorted((self._agent.directory / "releases").iterdir(), key=lambda one: one.stat().st_mtime)
        for release in releases[:-KEPT_RELEASES]:
            if str(release) not in used:
                shutil.rmtree(release)


def kill(pid: int) -> None:
    """Kill one of our processes, if it still exists."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def serving(pid: int) -> set[str]:
    """Return the ports that a process listens on."""
    try:
        return listening(pid)
    except OSError:
        return set()


def is_worker(pid: int) -> bool:
    """Return whether its parent belongs to the zoo too."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return all(b"zoo.py" in Path(f"/proc/{one}/cmdline").read_bytes() for one in (pid, parent))
    except OSError:
        return False
