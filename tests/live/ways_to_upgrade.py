"""How, and when, an agent is asked to be upgraded: twice at once, by another, and amid what else is asked of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rainbowd.report.lock import holder
from tests.live.agent import ROOT

if TYPE_CHECKING:
    from tests.live.agent import Agent, Event
    from tests.live.api import Caller

TOGETHER_SECONDS = 0.01
UNDER_WAY_SECONDS = 0.05
"""Until a deploy is under way that was asked for, or a new program is being started."""
AGAIN_SECONDS = 0.2
QUIET_SECONDS = 2.0
"""How long the start of an upgrade may take that was requested during another."""
COMMAND_SECONDS = 60.0

_OUTCOMES = "agent.upgraded", "agent.upgrade_failed"


class Site:
    """A site whose agent is upgraded.

    Attributes:
        seconds: how long each way took.
        wrong: what should not have been.
    """

    def __init__(self, agent: Agent, api: Caller) -> None:
        self.agent = agent
        self.seconds: list[float] = []
        self.wrong: list[str] = []
        self._api = api
        self._since = 0
        self._release = "a"

    def go(self, way: Way) -> None:
        """Upgrade this way; all that was asked for is done then."""
        apps = self._apps()
        self._since = len(self.agent.events())
        begun_at = time.monotonic()
        way(self)
        self._await_upgrade()
        self.seconds.append(time.monotonic() - begun_at)
        moved = [number for number, pid in self._apps().items() if apps.get(number, pid) != pid]
        self.wrong += [f"{way.__name__}: generation {number} is another process" for number in moved]

    def settle(self) -> None:
        """Wait until nothing is in progress, and the agents that were upgraded have exited."""
        agent = self.agent
        while True:
            before = len(agent.events())
            time.sleep(QUIET_SECONDS)
            begun = agent.output_file.read_text(errors="replace").count("upgrade begins")
            ended = sum(event["event"] in _OUTCOMES for event in agent.events())
            if begun == ended and len(agent.events()) == before:
                break
        agent.wait_until(lambda: {} if agent.agents() == [holder(agent.state_dir)] else None, "one agent")
        self._follow()

    # --- what is asked --------------------------------------------------------------------------------------------

    def signal(self, signum: signal.Signals = signal.SIGUSR2) -> None:
        """Send a signal to the process that is the agent."""
        pid = holder(self.agent.state_dir)
        assert pid is not None, "there is no agent"
        os.kill(pid, signum)

    def command(self, *words: str) -> Callable[[], None]:
        """Begin a command; the rest of it is what is returned."""
        config = str(self.agent.directory / "rainbowd.json")
        command = [sys.executable, "-m", "rainbowd", *words, "--timeout", str(COMMAND_SECONDS), "--config", config]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        begun = subprocess.Popen(
            command,
            cwd=self.agent.directory,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def finish() -> None:
            said, _ = begun.communicate(timeout=COMMAND_SECONDS * 2)
            if begun.returncode != 0:
                self.wrong.append(f"{words} exits with {begun.returncode}: {said}")

        return finish

    def call(self) -> None:
        """Ask for a deploy over the API; while the agent is upgraded, it says to ask again."""
        deadline = time.monotonic() + COMMAND_SECONDS
        while (answer := self._api.call("POST", "/redeploy?wait=1")).status == 503 and time.monotonic() < deadline:
            time.sleep(AGAIN_SECONDS)
        if answer.status != 200:
            self.wrong.append(f"a call: {answer}")

    def flip(self) -> None:
        """Turn the link to the other release."""
        self._release = "ab"["ba".index(self._release)]
        self.agent.flip(self._release)

    def on_trial(self) -> None:
        """Wait until the new agent serves in addition to the old one."""
        self.agent.wait_for("generation.adopted", self._since)

    def decided(self, **fields: object) -> None:
        """Wait for the deploy that was asked for."""
        decided = self.agent.decision(self._since, **fields)
        if decided["event"] != "deploy.succeeded":
            self.wrong.append(f"a deploy: {decided}")

    # --- what there is --------------------------------------------------------------------------------------------

    def _apps(self) -> dict[int, int]:
        """Return the process of each generation."""
        return {one["id"]: one["pid"] for one in self.agent.status()["generations"]}

    def _await_upgrade(self) -> None:
        agent = self.agent

        def outcome() -> Event | None:
            return next((event for event in agent.events()[self._since :] if event["event"] in _OUTCOMES), None)

        told = agent.wait_until(outcome, "the end of an upgrade")
        if told["event"] != "agent.upgraded":
            self.wrong.append(f"an upgrade: {told}")
        self._follow()

    def _follow(self) -> None:
        """Know who is the agent by now."""
        pid = holder(self.agent.state_dir)
        assert self.agent.process is not None
        if pid is not None and pid != self.agent.process.pid:
            self.agent.follow(pid)


Way = Callable[[Site], None]


def alone(site: Site) -> None:
    site.signal()


def two_signals(site: Site) -> None:
    site.signal()
    time.sleep(TOGETHER_SECONDS)
    site.signal()


def two_commands(site: Site) -> None:
    for finish in [site.command("upgrade"), site.command("upgrade")]:
        finish()


def a_signal_beside_the_command(site: Site) -> None:
    finish = site.command("upgrade")
    site.signal()
    finish()


def again_on_trial(site: Site) -> None:
    site.signal()
    site.on_trial()
    site.signal()


def behind_a_turn_of_the_link(site: Site) -> None:
    site.flip()
    site.signal()
    site.decided()


def during_a_deploy(site: Site) -> None:
    site.agent.touch()
    time.sleep(UNDER_WAY_SECONDS)
    site.signal()
    site.decided()


def a_touch_in_the_middle(site: Site) -> None:
    site.signal()
    time.sleep(UNDER_WAY_SECONDS)
    site.agent.touch()
    site.decided()


def a_touch_on_trial(site: Site) -> None:
    site.signal()
    site.on_trial()
    site.agent.touch()
    site.decided()


def a_call_in_the_middle(site: Site) -> None:
    site.signal()
    time.sleep(UNDER_WAY_SECONDS)
    site.call()


def a_call_on_trial(site: Site) -> None:
    site.signal()
    site.on_trial()
    site.call()


def a_hangup_on_trial(site: Site) -> None:
    site.signal()
    site.on_trial()
    site.signal(signal.SIGHUP)
    site.decided(trigger="signal")


def the_command_deploys_on_trial(site: Site) -> None:
    site.signal()
    site.on_trial()
    site.command("deploy")()


WAYS: list[Way] = [
    alone,
    two_signals,
    during_a_deploy,
    two_commands,
    a_touch_on_trial,
    a_call_in_the_middle,
    a_signal_beside_the_command,
    behind_a_turn_of_the_link,
    again_on_trial,
    a_call_on_trial,
    a_touch_in_the_middle,
    a_hangup_on_trial,
    the_command_deploys_on_trial,
]
"""All of them; some lead to two upgrades."""
