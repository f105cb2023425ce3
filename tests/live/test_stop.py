"""``rainbowd stop`` on a real agent."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import PATIENCE_SECONDS, Agent, running
from tests.live.test_commands import end, run, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with running(tmp_path, drain={"kill_after": 5}) as agent:
        yield agent


def test_a_stop_waits_until_the_agent_and_its_app_have_ended(agent: Agent) -> None:
    status, out, err = run(agent, "stop")
    assert (status, err) == (0, ""), out + err
    assert "stopped after" in out
    assert agent.process is not None
    assert agent.process.wait(PATIENCE_SECONDS) == 0
    assert agent.processes() == []
    status, _, err = run(agent, "stop")
    assert (status, "no agent is running" in err) == (3, True)


def test_a_stop_that_takes_longer_than_the_command_waits_continues(tmp_path: Path) -> None:
    with running(
        tmp_path, run=[sys.executable, "-c", STUBBORN, "{port}"], health="/", drain={"kill_after": 3}
    ) as agent:
        status, _, err = run(agent, "stop", "--timeout", "0.2")
        assert (status, "not stopped within 0.2 seconds" in err) == (4, True), err
        assert run(agent, "stop")[0] in {0, 3}
        assert agent.processes() == []


def test_ctrl_c_ends_the_wait_and_the_agent_continues_to_stop(tmp_path: Path) -> None:
    with running(
        tmp_path, run=[sys.executable, "-c", STUBBORN, "{port}"], health="/", drain={"kill_after": 3}
    ) as agent:
        command = start(agent, "stop")
        assert command.stdout is not None
        assert "stopping the agent" in command.stdout.readline()
        command.send_signal(signal.SIGINT)
        status, _, err = end(command)
        assert (status, "the agent continues to stop" in err) == (130, True), err
        assert run(agent, "stop")[0] in {0, 3}
        assert agent.processes() == []


def test_an_agent_that_was_upgraded_meanwhile_is_stopped_too(agent: Agent) -> None:
    assert agent.upgrade()["event"] == "agent.upgraded"
    assert run(agent, "stop")[0] == 0
    assert agent.processes() == []


def test_the_variable_names_the_config_unless_an_option_does(agent: Agent, tmp_path: Path) -> None:
    config = str(agent.directory / "rainbowd.json")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def status(*words: str, variable: str) -> tuple[int, str]:
        done = subprocess.run(
            ["env", f"RAINBOWD_CONFIG={variable}", sys.executable, "-m", "rainbowd", *words],
            cwd=elsewhere,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    assert status("status", variable=config)[0] == 0
    assert status("status", "--config", config, variable="/none.json")[0] == 0
    assert status("status", variable="")[0] == 2
    found, said = status("status", variable="/none.json")
    assert (found, "/none.json: no such file" in said, "RAINBOWD_CONFIG" in said) == (2, True, True), said


STUBBORN = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
"""An app that does not end when it is asked to."""
