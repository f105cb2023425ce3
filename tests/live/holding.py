"""Memory, descriptors and threads of an agent after many deploys: ``python -m tests.live.holding --deploys 100``."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

from tests.live.agent import ROOT, Agent

WARM_DEPLOYS = 40
"""Until then memory grows, because each worker thread gets a heap of its own; after that it must not."""
GROWTH_BYTES = 3 << 20
SETTLE_SECONDS = 15.0
"""Worker threads that are idle end after ten."""


@dataclass(frozen=True)
class Held:
    """What one generation more or less should make no difference to."""

    descriptors: int
    tasks: int
    threads: int
    files: int
    memory_bytes: int

    def grown_beyond(self, before: Held) -> list[str]:
        """Return what is more than before, in words; memory is not compared."""
        *now, _ = astuple(self)
        *then, _ = astuple(before)
        return [f"{self}, before {before}"] if any(a > b for a, b in zip(now, then, strict=True)) else []


def counted_agent(directory: Path) -> Agent:
    """Run an agent that reports its tasks, with a live release."""
    agent = Agent(directory)
    agent.add_release("a")
    agent.add_release("bad", exit_status=1)
    agent.flip("a")
    with agent.output_file.open("ab") as output:
        command = [sys.executable, "-m", "tests.live.counted", str(directory / "tasks"), "--config", "rainbowd.json"]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        env = {**os.environ, "PYTHONPATH": path}
        agent.process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output, env=env)
    agent.decision(0, trigger="start")
    return agent


def deploy(agent: Agent, times: int, *, like: Held | None = None) -> Held:
    """Deploy so often, each third time in vain; what is then held, as soon as it is no more than ``like``."""
    for number in range(times):
        since = len(agent.events())
        if number % 3 == 2:
            agent.flip("bad")
            assert agent.decision(since, trigger="symlink")["event"] == "deploy.failed"
            agent.flip("a")
            agent.wait_for("deploy.rolled_back", since)
        else:
            agent.touch()
            assert agent.decision(since)["event"] == "deploy.succeeded"
        agent.wait_for("generation.retired", since)
    deadline = time.monotonic() + SETTLE_SECONDS
    time.sleep(1)
    held = look(agent)
    while like is not None and held.grown_beyond(like) and time.monotonic() < deadline:
        time.sleep(0.2)
        held = look(agent)
    return held


def look(agent: Agent) -> Held:
    assert agent.process is not None
    proc, told = Path(f"/proc/{agent.process.pid}"), agent.directory / "tasks"
    told.unlink(missing_ok=True)
    agent.process.send_signal(signal.SIGUSR1)
    agent.wait_until(lambda: {} if told.exists() else None, "the number of tasks")
    return Held(
        descriptors=len(list((proc / "fd").iterdir())),
        tasks=int(told.read_text()),
        threads=len(list((proc / "task").iterdir())),
        files=len(list(agent.state_dir.iterdir())),
        memory_bytes=int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    )


def main() -> int:
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.holding", description="What many deploys leave.")
    parser.add_argument("--deploys", type=int, default=100, help="how many; default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holding-") as directory:
        agent = counted_agent(Path(directory))
        try:
            few = deploy(agent, 5)
            print(f"after 5: {few}", flush=True)
            warm = deploy(agent, WARM_DEPLOYS - 5, like=few)
            print(f"after {WARM_DEPLOYS}: {warm}", flush=True)
            many = deploy(agent, max(0, options.deploys - WARM_DEPLOYS), like=few)
            print(f"after {options.deploys}: {many}, zombies {agent.zombies()}")
            agent.stop()
        finally:
            agent.destroy()
    return 1 if many.grown_beyond(few) or many.memory_bytes > warm.memory_bytes + GROWTH_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
