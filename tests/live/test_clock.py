"""The machine's clock is set back under a running agent: durations go on as they were."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import ROOT, Agent
from tests.story import problems

if TYPE_CHECKING:
    from pathlib import Path

BY_ANOTHER_CLOCK = """
import datetime, sys, time
real, file = time.time, sys.argv[1]
class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
time.time = lambda: real() + float(open(file).read())
datetime.datetime = Clock
from rainbowd.cli import main
sys.exit(main(sys.argv[2:]))
"""
"""An agent whose clock is set by a file: in seconds, from the machine's."""


def start(agent: Agent, clock: Path) -> None:
    with agent.output_file.open("ab") as output:
        command = [sys.executable, "-c", BY_ANOTHER_CLOCK, str(clock), "--config", "rainbowd.json"]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        agent.process = subprocess.Popen(
            command, cwd=agent.directory, stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": path}
        )


def status_of(agent: Agent) -> int:
    connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.long
@pytest.mark.live
def test_a_clock_that_is_set_back_makes_no_difference(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    agent = Agent(tmp_path, standby=0.5, drain={"timeout": 20, "kill_after": 2})
    agent.add_release("a")
    agent.add_release("b", boot_seconds=0.7)
    agent.flip("a")
    start(agent, clock)
    try:
        agent.decision(0, trigger="start")
        since = len(agent.events())
        agent.flip("b")
        agent.wait_for("generation.launched", since)
        clock.write_text("-86400")
        decided = agent.decision(since)
        assert decided["event"] == "deploy.succeeded"
        assert decided["at"] < agent.events()[0]["at"]
        assert 0.7 < decided["seconds"] < 30
        assert agent.wait_for("generation.live", since)["boot_seconds"] > 0.7
        retired = agent.wait_for("generation.retired", since, generation=1)  # its time as standby came to its end
        assert 0 <= retired["drain_seconds"] < 20
        os.kill(agent.status()["generations"][0]["pid"], signal.SIGKILL)
        agent.wait_for("generation.crashed", since)
        assert status_of(agent) == 200  # which waited for the relaunch
        agent.wait_for("generation.live", since, generation=3)  # the journal is written after the record
        clock.write_text("-172800")
        agent.kill()
        since = len(agent.events())
        start(agent, clock)
        assert agent.wait_for("generation.adopted", since)["state"] == "live"
        assert status_of(agent) == 200
        history = subprocess.run(
            [sys.executable, "-m", "rainbowd", "history", "--json", "--config", str(tmp_path / "rainbowd.json")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        assert all(entry["seconds"] >= 0 for entry in json.loads(history.stdout))
        assert agent.stop() == 0
        assert agent.processes() == []
        assert problems(agent.events()) == []
    finally:
        agent.destroy()
