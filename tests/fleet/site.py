"""A fleet of real agents on one machine, each with a site of its own, and the commands of its deployers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

from tests.live.agent import Agent, command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

HOOKS = {
    "before_launch": 'echo "$(basename "$RAINBOWD_RELEASE") wave $RAINBOWD_WAVE [$RAINBOWD_FIRST]" >>../../launches',
    "fetch": 'cp -r "../store/$(basename "$RAINBOWD_RELEASE")" "$RAINBOWD_RELEASE"',
}
"""What members note of their launches, and where they get a missing release from."""

PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.05


class Fleet:
    """Agents that are members of one fleet.

    Args:
        directory: an empty one, for all of them.
        endpoints: of etcd.
        count: how many members.
        settings: keys of ``fleet`` in addition to, or instead of, those that every test needs.
    """

    def __init__(self, directory: Path, endpoints: Sequence[str], count: int, **settings: object) -> None:
        self.directory = directory
        usual = {
            "name": f"f{os.urandom(4).hex()}",
            "endpoints": list(endpoints),
            "ttl": 2 * len(endpoints) + 0.5,
            "grace": 15,
            "bake": 0.3,
        }
        self.settings: dict[str, Any] = usual | settings
        self.members = {name: self.make(name) for name in (f"web{number}" for number in range(1, count + 1))}

    def make(self, name: str, **config: object) -> Agent:
        """Return a new member that is not started yet, with the releases v1, v2 and v3."""
        site = self.directory / name
        site.mkdir()
        agent = Agent(site, **{"fleet": {**self.settings, "member": name}, "hooks": HOOKS, **config})
        agent.patience_seconds = PATIENCE_SECONDS
        for release in ("v1", "v2", "v3"):
            agent.add_release(release)
        agent.flip("v1")
        return agent

    def start(self) -> None:
        """Start all members, and wait until each has joined."""
        for agent in self.members.values():
            agent.start()
        for agent in self.members.values():
            agent.wait_for("fleet.joined")
        self.until(lambda state: len(self.present(state)) == len(self.members), "all members to be present")

    def destroy(self) -> None:
        """End everything."""
        for agent in self.members.values():
            agent.destroy()

    # --- deployers --------------------------------------------------------------------------------------------------

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start ``rainbowd fleet WORDS`` without waiting for its end."""
        config = self.directory / "web1" / "rainbowd.json"
        verb, *rest = words or [""]
        line = command("fleet", *([verb] if verb else []), "--config", str(config), *rest)
        return subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Return the exit status and the output of ``rainbowd fleet WORDS``."""
        return self.end(self.begin(*words))

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Return the exit status and the output of a command, once it has ended."""
        try:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError(f"no end of {process.args!r}:\n{output}\n{self.state()}\n{self.outputs()}") from None
        return process.returncode, output

    def deploy(self, release: str, *words: str) -> str:
        """Deploy a release, which succeeds; return the output."""
        status, output = self.run("deploy", release, *words)
        assert status == 0, output
        return output

    # --- what is there ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What one of the running members shows of the fleet."""
        for agent in self.members.values():
            if agent.process is not None and agent.process.poll() is None:
                with contextlib.suppress(FileNotFoundError, KeyError):
                    found: dict[str, Any] = agent.status()["fleet"]
                    if "members" in found:
                        return found
        return {}

    @staticmethod
    def present(state: dict[str, Any]) -> list[str]:
        """The members that are present."""
        return [member["name"] for member in state.get("members", ()) if member["present"]]

    def until(self, look: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Return the state once ``look`` is true for it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            state = self.state()
            if state and look(state):
                return state
            assert time.monotonic() < deadline, f"waiting for {what}: {json.dumps(state, indent=1)}\n{self.outputs()}"
            time.sleep(LOOK_SECONDS)

    def wait(self, look: Callable[[], object], what: str) -> None:
        """Wait until ``look`` is true, without a command."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not look():
            assert time.monotonic() < deadline, f"waiting for {what}\n{self.outputs()}"
            time.sleep(LOOK_SECONDS)

    def outputs(self) -> str:
        """The last lines of each agent."""
        return "\n".join(f"--- {name}\n{agent.output(12)}" for name, agent in self.members.items())

    def linked(self, *names: str) -> list[str]:
        """The releases that the links of these members, or of all, name."""
        return [self.members[name].link.resolve().name for name in names or self.members]

    def live(self, *names: str) -> list[str]:
        """The releases that are live on these members, or on all."""
        return [_live(self.members[name]) for name in names or self.members]

    def launches(self, name: str, release: str) -> int:
        """How often a member has launched a release."""
        agent = self.members[name]
        path = str(agent.directory / "releases" / release)
        return sum(event["event"] == "generation.launched" and event["release"] == path for event in agent.events())


def _live(agent: Agent) -> str:
    status = agent.status()
    found = [one["release"] for one in status["generations"] if one["id"] == status["live"]]
    return found[0].rpartition("/")[2] if found else ""
