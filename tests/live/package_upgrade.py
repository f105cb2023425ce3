"""Upgrade a real installation under traffic: ``python -m tests.live.package_upgrade --before REVISION``.

A wheel of that revision is installed into an environment of its own and run; then one of this tree takes its place
there, and the agent is upgraded.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live import storm
from tests.live.agent import ROOT, Agent
from tests.live.traffic import Traffic
from tests.story import problems

if TYPE_CHECKING:
    from collections.abc import Callable

AROUND_SECONDS = 2.0


class Installed(Agent):
    """An agent that is run as users run it: by the script in an environment."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, drain={"timeout": 20, "tunnels": 3})
        self.environment = directory / "environment"

    def start(self) -> None:
        """Start it."""
        command = [str(self.environment / "bin" / "rainbowd"), "--config", str(self.directory / "rainbowd.json")]
        with self.output_file.open("ab") as output:
            self.process = subprocess.Popen(command, cwd=self.directory, stdout=output, stderr=output, env={})

    def upgrade_by_command(self) -> str:
        """``rainbowd upgrade``, as it is installed by now; what it says."""
        rainbowd = self.environment / "bin" / "rainbowd"
        said = quietly(rainbowd, "upgrade", "--timeout", "120", "--config", self.directory / "rainbowd.json")
        self.follow(self.wait_for("agent.upgraded")["pid"])
        return said.strip()


def run(directory: Path, before: str) -> list[str]:
    """Set up an environment and a site in ``directory``, upgrade under traffic, and say what was seen."""
    agent = Installed(directory)
    quietly(sys.executable, "-m", "venv", agent.environment)
    old, new = wheel(directory, before, "0"), wheel(directory, "HEAD", "1")
    pip = [agent.environment / "bin" / "python", "-m", "pip", "install", "-q"]
    quietly(*pip, old)
    agent.add_release("a")
    agent.add_release("b")
    agent.flip("a")
    agent.start()
    try:
        assert agent.decision(0)["event"] == "deploy.succeeded"
        traffic = Traffic(agent.host, agent.port)
        return asyncio.run(upgrade(agent, traffic, lambda: quietly(*pip, new)))
    finally:
        agent.destroy()


async def upgrade(agent: Installed, traffic: Traffic, install: Callable[[], object]) -> list[str]:
    """Install and upgrade while all the clients ask; then deploy and stop, by the new agent."""
    pid = agent.status()["generations"][0]["pid"]
    async with asyncio.TaskGroup() as tasks:
        for client in traffic.clients():
            tasks.create_task(client)
        try:
            await asyncio.sleep(AROUND_SECONDS)
            await asyncio.to_thread(install)
            await asyncio.sleep(AROUND_SECONDS)
            begun_at = time.monotonic()
            said = await asyncio.to_thread(agent.upgrade_by_command)
            seconds = time.monotonic() - begun_at
            await asyncio.sleep(AROUND_SECONDS)
            assert agent.status()["generations"][0]["pid"] == pid, "the app was touched"
            since = len(agent.events())
            agent.flip("b")
            decided = await asyncio.to_thread(agent.decision, since)
            await asyncio.sleep(AROUND_SECONDS)
        finally:
            traffic.over.set()
    wrong = [*traffic.failures, *problems(agent.events())]
    wrong += [] if decided["event"] == "deploy.succeeded" else [f"a deploy by the new agent failed: {decided}"]
    await asyncio.to_thread(agent.upgraded[0].wait, 60)
    agent.stop()
    wrong += storm.leftovers(agent, agent.events())
    lines = [f"{said} after {seconds:.2f} s", *(f"{count:8} {kind}" for kind, count in sorted(traffic.counts.items()))]
    return [*lines, *(f"FAILED {one}" for one in wrong), "no failure" if not wrong else f"{len(wrong)} failures"]


def wheel(directory: Path, revision: str, number: str) -> Path:
    """Build a wheel of a revision, with a version of its own."""
    tree, built = directory / f"tree{number}", directory / f"wheel{number}"
    tree.mkdir()
    quietly("sh", "-c", f"git -C {ROOT} archive {revision} | tar -x -C {tree}")
    module = tree / "rainbowd" / "__init__.py"
    module.write_text(re.sub('__version__ = ".*"', f'__version__ = "{number}.0"', module.read_text()))
    quietly(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", built, tree)
    return next(built.glob("*.whl"))


def quietly(*command: object) -> str:
    """Run it; what it says."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def main() -> int:
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.package_upgrade", description="Upgrade under traffic.")
    parser.add_argument("--before", default="HEAD~1", metavar="REVISION", help="what is upgraded; default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="upgrade-") as directory:
        lines = run(Path(directory), options.before)
    print("\n".join(lines))
    return 0 if lines[-1] == "no failure" else 1


if __name__ == "__main__":
    sys.exit(main())
