"""What is kept warm, and what is replaced because it is silent, on real processes."""

from __future__ import annotations

import http.client
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import running
from tests.story import problems

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.agent import Agent

pytestmark = pytest.mark.live


def release_that_answers(agent: Agent) -> str | None:
    connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().getheader("X-Release")
    finally:
        connection.close()


def test_turning_the_link_back_is_live_at_once_and_a_crash_is_bridged(tmp_path: Path) -> None:
    with running(tmp_path, standby=60) as agent:
        slow = agent.add_release("slow")
        since = len(agent.events())
        agent.flip("slow")
        assert agent.decision(since)["event"] == "deploy.succeeded"
        agent.wait_for("generation.standby", since, generation=1)
        since = len(agent.events())
        agent.flip("a")
        assert agent.decision(since)["event"] == "deploy.rolled_back"
        assert release_that_answers(agent) == "a"
        agent.flip("slow")
        agent.wait_for("generation.live", since, generation=2)
        since = len(agent.events())
        (slow / "app.json").write_text('{"awaits": "go"}')
        os.kill(agent.status()["generations"][1]["pid"], signal.SIGKILL)
        agent.wait_for("generation.live", since, generation=1)
        assert release_that_answers(agent) == "a"
        (slow / "go").touch()
        agent.wait_for("generation.standby", since, generation=1)
        assert release_that_answers(agent) == "slow"
        assert agent.stop() == 0
        assert agent.processes() == []
        assert problems(agent.events()) == []


def test_one_that_hangs_is_replaced(tmp_path: Path) -> None:
    health = {"path": "/up", "timeout": 0.3, "liveness": {"interval": 0.2, "failures": 2}}
    with running(tmp_path, health=health, drain={"timeout": 1, "kill_after": 1}) as agent:
        os.kill(agent.status()["generations"][0]["pid"], signal.SIGSTOP)
        assert agent.decision(1, trigger="liveness")["event"] == "deploy.succeeded"
        assert release_that_answers(agent) == "a"
        assert agent.wait_for("generation.retired", generation=1)["killed"]
        assert agent.stop() == 0
        assert problems(agent.events()) == []
