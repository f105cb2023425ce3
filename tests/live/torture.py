"""All kinds of acts at random, for a given time: ``python -m tests.live.torture --minutes 20 --seed 1``.

Deploys by every trigger, of releases as bad as they come, while apps, agents and their upgrades are killed under
traffic.  Afterwards every request that failed has to have been in flight on a process when that was killed; nothing is
left; and the journal tells a story that can have happened.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live.agent import Agent, free_port
from tests.live.api import Caller, enabled
from tests.live.judgement import SHOWN, Outcome, held, judge, report
from tests.live.kills import Watched
from tests.live.torturer import SETTLE_SECONDS, Torturer

if TYPE_CHECKING:
    from tests.live.traffic import Traffic

COMPANION = [sys.executable, str(Path(__file__).with_name("zoo_companion.py"))]

CONFIG: dict[str, object] = {
    "run": [sys.executable, str(Path(__file__).with_name("zoo.py")), "{port}"],
    "health": {"path": "/up", "deadline": 6, "timeout": 2},
    "drain": {"timeout": 20, "tunnels": 2, "kill_after": 2},
    "hold": {"timeout": 25, "limit": 1000},
    "log": {"app": None},
    "processes": {
        "worker": {"run": COMPANION, "instances": 2, "stop": {"kill_after": 2}},
        "beat": {"run": COMPANION, "overlap": False, "stop": {"kill_after": 2}},
    },
}

PATIENCE_SECONDS = 90.0
"""The seconds that a deploy can take: it can wait until all generations have drained, and then boot."""


def run(directory: Path, seconds: float, seed: int) -> Outcome:
    """Set up a site in ``directory``, torture it for this time, stop it, and report what was observed."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        api_port = free_port()
        config = {**CONFIG, **enabled(api_port)}
        agent = Agent(directory, **config)
        agent.inherited, agent.port = listener, listener.getsockname()[1]
        agent.patience_seconds = PATIENCE_SECONDS
        outcome = Outcome(seed, Watched(agent.host, agent.port))
        torturer = Torturer(agent, config, Caller(agent, api_port), random.Random(seed), outcome)
        torturer.deploy("good")
        agent.start()
        try:
            agent.decision(0, trigger="start")
            before = held(agent)
            asyncio.run(torture(torturer, outcome.traffic, seconds))
            for process in agent.upgraded:
                process.wait(SETTLE_SECONDS)
            torturer.settle(before)
            exit_status = agent.stop()
            outcome.wrong += [f"the agent's exit status is {exit_status}"] if exit_status else []
            judge(agent, outcome)
            if outcome.wrong:
                outcome.wrong.insert(SHOWN, f"the agent's last lines:\n{agent.output(60)}")
        finally:
            agent.destroy()
    return outcome


async def torture(torturer: Torturer, traffic: Traffic, seconds: float) -> None:
    """Act while all clients send requests, and check the agent at the end."""
    deadline = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for client in traffic.clients():
            tasks.create_task(client)
        try:
            while time.monotonic() < deadline:
                await asyncio.to_thread(torturer.act)
                await asyncio.to_thread(torturer.tidy)
            await asyncio.to_thread(torturer.finish)
        finally:
            traffic.over.set()


def main() -> int:
    """Run the command line of this module."""
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
