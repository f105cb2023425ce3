"""Two generations that ask one daemon of the user: never may the end of the old one end the new one."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from tests.live.agent import APP, Agent, running

pytestmark = pytest.mark.live
MANAGER = Path(__file__).with_name("manager.py")


def command(where: str) -> list[str]:
    return [sys.executable, str(MANAGER), where, sys.executable, str(APP), "{port}"]


def test_a_release_that_another_generations_daemon_has_started_does_not_go_live(tmp_path: Path) -> None:
    with running(tmp_path, run=command(str(tmp_path / "shared"))) as agent:
        for release in ("b", "a"):
            since = len(agent.events())
            agent.flip(release) if release == "b" else agent.touch()
            failed = agent.decision(since)
            assert failed["event"] == "deploy.failed"
            assert ", which generation 1 has started (pid " in failed["reason"]
            assert "both share one daemon; give each generation its own" in failed["reason"]
            agent.wait_for("generation.retired", since, left=[])
            assert agent.status()["live"] == 1
            assert not agent.find("generation.crashed")
        assert agent.stop() == 0
        assert agent.processes() == []


def test_a_client_that_would_end_the_shared_daemon_when_it_is_signalled_is_not_signalled(tmp_path: Path) -> None:
    shared = command(str(tmp_path / "shared"))
    with running(tmp_path, run=shared) as agent:
        guarded = ["sh", "-c", f'trap "kill $(cat {tmp_path}/shared.pid)" TERM; "$@" & wait; wait', "sh", *shared]
        agent.configure(run=guarded)
        since = len(agent.events())
        agent.flip("b")
        assert agent.decision(since)["event"] == "deploy.failed"
        assert agent.wait_for("generation.retired", since)["killed"]
        assert agent.status()["live"] == 1
        assert not agent.find("generation.crashed")


def test_a_daemon_of_its_own_for_each_generation_ends_with_it(tmp_path: Path) -> None:
    with running(tmp_path, run=command("{pidfile}-socket")) as agent:
        for release in ("b", "a"):
            since = len(agent.events())
            agent.flip(release)
            assert agent.decision(since)["event"] == "deploy.succeeded"
            assert agent.wait_for("generation.retired", since)["left"] == []
        assert not agent.find("generation.crashed")
        assert agent.stop() == 0
        assert agent.processes() == []


def test_a_helper_that_another_generations_daemon_runs_lives_on_when_that_generation_ends(tmp_path: Path) -> None:
    helper = f"{sys.executable} {MANAGER} {tmp_path}/shared setsid sleep 1000 & exec {sys.executable} {APP} $PORT"
    with running(tmp_path, run=helper) as agent:
        since = len(agent.events())
        agent.flip("b")
        assert agent.decision(since)["event"] == "deploy.succeeded"
        agent.wait_for("generation.retired", since, generation=1)
        agent.wait_until(lambda: {} if helpers(agent) == 1 else None, "the second one's helper")
        assert agent.stop() == 0
        assert agent.processes() == []


def helpers(agent: Agent) -> int:
    """Return how many of the helpers run."""
    commands = []
    for pid in agent.processes():
        with contextlib.suppress(OSError):
            commands.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    return commands.count(b"sleep\x001000\x00")
