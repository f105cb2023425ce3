"""Upgrade a real installation under traffic: ``python -m tests.live.package_upgrade --before REVISION``.

A wheel of that revision is installed into an environment of its own and run; then one of this tree takes its place
there, and the agent is upgraded.  With ``--compiled``, the pure and the compiled wheel of this tree take each other's
place, with one process that serves and with three.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live import storm
from tests.live.agent import ROOT, Agent
from tests.live.traffic import Traffic
from tests.story import problems

if TYPE_CHECKING:
    from collections.abc import Sequence

AROUND_SECONDS = 2.0


class Installed(Agent):
    """An agent that is run as users run it: by the script in an environment."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.serve_with(1)
        self.environment = directory / "environment"

    def serve_with(self, processes: int) -> None:
        """Configure how many processes serve after the next upgrade."""
        self.configure(drain={"timeout": 20, "tunnels": 3}, workers=processes)

    def start(self) -> None:
        """Start it."""
        command = [str(self.environment / "bin" / "rainbowd"), "--config", str(self.directory / "rainbowd.json")]
        with self.output_file.open("ab") as output:
            self.process = subprocess.Popen(command, cwd=self.directory, stdout=output, stderr=output, env={})

    @property
    def pip_install(self) -> list[object]:
        """The command that installs into the environment."""
        return [self.environment / "bin" / "python", "-m", "pip", "install", "-q"]

    def upgrade_by_command(self) -> str:
        """``rainbowd upgrade``, as it is installed by now; what it says."""
        rainbowd, since = self.environment / "bin" / "rainbowd", len(self.events())
        said = quietly(rainbowd, "upgrade", "--timeout", "120", "--config", self.directory / "rainbowd.json")
        self.follow(self.wait_for("agent.upgraded", since)["pid"])
        return said.strip()


@dataclass(frozen=True)
class Step:
    """An upgrade: what is installed before it, and how many processes serve after it."""

    wheel: Path
    workers: int = 1


def run(directory: Path, first: Path, steps: Sequence[Step]) -> list[str]:
    """Set up an environment and a site in ``directory``, upgrade under traffic, and say what was seen."""
    agent = Installed(directory)
    quietly(sys.executable, "-m", "venv", agent.environment)
    quietly(*agent.pip_install, first)
    agent.add_release("a")
    agent.add_release("b")
    agent.flip("a")
    agent.start()
    try:
        assert agent.decision(0)["event"] == "deploy.succeeded"
        traffic = Traffic(agent.host, agent.port)
        return asyncio.run(upgrade(agent, traffic, steps))
    finally:
        agent.destroy()


async def upgrade(agent: Installed, traffic: Traffic, steps: Sequence[Step]) -> list[str]:
    """Install and upgrade while all the clients ask; then deploy and stop, by the new agent."""
    pid = agent.status()["generations"][0]["pid"]
    lines = []
    async with asyncio.TaskGroup() as tasks:
        for client in traffic.clients():
            tasks.create_task(client)
        try:
            for step in steps:
                lines.append(await take(step, agent))
                assert agent.status()["generations"][0]["pid"] == pid, "the app was touched"
            since = len(agent.events())
            agent.flip("b")
            decided = await asyncio.to_thread(agent.decision, since)
            await asyncio.sleep(AROUND_SECONDS)
        finally:
            traffic.over.set()
    wrong = [*traffic.failures, *problems(agent.events())]
    wrong += [] if decided["event"] == "deploy.succeeded" else [f"a deploy by the new agent failed: {decided}"]
    for old in agent.upgraded:
        await asyncio.to_thread(old.wait, 60)
    agent.stop()
    wrong += storm.leftovers(agent, agent.events())
    lines += [f"{count:8} {kind}" for kind, count in sorted(traffic.counts.items())]
    return [*lines, *(f"FAILED {one}" for one in wrong), "no failure" if not wrong else f"{len(wrong)} failures"]


async def take(step: Step, agent: Installed) -> str:
    """Install a wheel and upgrade the agent; return what was seen."""
    await asyncio.sleep(AROUND_SECONDS)
    await asyncio.to_thread(quietly, *agent.pip_install, step.wheel)
    agent.serve_with(step.workers)
    await asyncio.sleep(AROUND_SECONDS)
    begun_at = time.monotonic()
    said = await asyncio.to_thread(agent.upgrade_by_command)
    seconds = time.monotonic() - begun_at
    await asyncio.sleep(AROUND_SECONDS)
    version = quietly(agent.environment / "bin" / "rainbowd", "--version").strip()
    workers = len(agent.workers())
    assert workers == step.workers - 1, f"{workers} workers besides the agent"
    return f"{said} after {seconds:.2f} s: {version}, workers: {step.workers}"


def wheel(directory: Path, revision: str, number: str, *, compiled: bool = False) -> Path:
    """Build a wheel of a revision, with a version of its own."""
    tree, built = directory / f"tree{number}", directory / f"wheel{number}"
    tree.mkdir()
    quietly("sh", "-c", f"git -C {ROOT} archive {revision} | tar -x -C {tree}")
    module = tree / "rainbowd" / "__init__.py"
    module.write_text(re.sub('__version__ = ".*"', f'__version__ = "{number}.0"', module.read_text()))
    request = ["env", "HATCH_BUILD_HOOKS_ENABLE=1"] if compiled else []
    quietly(*request, sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", built, tree)
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
    parser.add_argument("--compiled", action="store_true", help="upgrade between the pure and the compiled version")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="upgrade-") as directory:
        place = Path(directory)
        if options.compiled:
            pure, compiled = wheel(place, "HEAD", "0"), wheel(place, "HEAD", "1", compiled=True)
            first, steps = pure, [Step(compiled, 3), Step(pure, 1), Step(compiled, 1), Step(pure, 3)]
        else:
            first, steps = wheel(place, options.before, "0"), [Step(wheel(place, "HEAD", "1"))]
        lines = run(place, first, steps)
    print("\n".join(lines))
    return 0 if lines[-1] == "no failure" else 1


if __name__ == "__main__":
    sys.exit(main())
