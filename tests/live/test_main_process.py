"""Which process the status shows, and what an app that something else starts is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import APP, Agent, running

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.live
HERE = Path(__file__).parent

MASTER = f"""
start() {{ {sys.executable} {APP} "$1" & echo $! >"$PIDFILE"; }}
trap 'old=$(cat "$PIDFILE"); kill $old; wait $old; start "$1"' USR2
trap 'kill $(cat "$PIDFILE"); exit 0' TERM
start "$1"
while :; do wait; sleep 0.05; done
"""
"""Starts the app again at USR2, and writes the process ID to the pidfile."""


def shown(agent: Agent) -> int:
    pid: int = agent.status()["generations"][0]["pid"]
    return pid


def pidfile(agent: Agent) -> int | None:
    """Return the process ID in the pidfile; None while it is not there, or empty because it is being written."""
    found = [file.read_text() for file in agent.state_dir.glob("generation-*/pid")]
    return int(found[0]) if found and found[0].strip() else None


def has_started(file: str) -> bool:
    return Path(file).exists() and Path(file).read_text() != ""


def wait_until(agent: Agent, look: Callable[[], bool], what: str) -> None:
    agent.wait_until(lambda: {"event": what} if look() else None, what)


def test_a_daemon_is_shown_in_place_of_the_process_that_was_launched(tmp_path: Path) -> None:
    with running(tmp_path, run=[sys.executable, str(HERE / "zoo.py"), "{port}"]) as agent:
        launched = agent.wait_for("generation.launched")["pid"]
        assert shown(agent) == launched
        since = len(agent.events())
        agent.add_release("daemon", zoo=["daemon"])
        agent.flip("daemon")
        assert agent.decision(since)["event"] == "deploy.succeeded"
        agent.wait_for("generation.retired", since)
        wait_until(agent, lambda: shown(agent) == pidfile(agent), "the daemon's pid")
        assert shown(agent) != agent.wait_for("generation.launched", since)["pid"]
        agent.wait_for("generation.adopted", agent.restart())
        wait_until(agent, lambda: shown(agent) == pidfile(agent), "the daemon's pid after a kill")
        assert agent.stop() == 0
        assert agent.processes() == []


def test_a_main_process_is_followed_when_another_takes_its_place(tmp_path: Path) -> None:
    with running(tmp_path, run=MASTER) as agent:
        launched = agent.wait_for("generation.launched")["pid"]
        wait_until(agent, lambda: shown(agent) == pidfile(agent) != launched, "the first")
        first = pidfile(agent)
        os.kill(launched, signal.SIGUSR2)
        wait_until(agent, lambda: shown(agent) == pidfile(agent) != first, "the second")
        assert not agent.find("generation.crashed")
        assert agent.stop() == 0
        assert agent.processes() == []


def test_an_app_that_something_else_has_started_is_named_and_not_tried_five_times(tmp_path: Path) -> None:
    where = str(tmp_path / "outside")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    manager = [sys.executable, str(HERE / "manager.py"), where]
    outside = subprocess.Popen([*manager, "sleep", "1000"], env=environment, cwd="/", start_new_session=True)
    try:
        with running(tmp_path) as agent:
            wait_until(agent, lambda: has_started(f"{where}.pid"), "the daemon of the manager")
            clear = ["env", "-i", f"PATH={os.environ['PATH']}", sys.executable, str(APP), "{port}"]
            agent.configure(run=[*manager, *clear])
            since = len(agent.events())
            agent.flip("b")
            failed = agent.decision(since)
            assert failed["event"] == "deploy.failed"
            assert f"`{sys.executable} " in failed["reason"]
            assert "started outside of this generation" in failed["reason"]
            launched = [event for event in agent.events()[since:] if event["event"] == "generation.launched"]
            assert len(launched) == 2
            assert agent.status()["live"] == 1
    finally:
        daemon = int(Path(f"{where}.pid").read_text())
        os.killpg(os.getsid(daemon), signal.SIGKILL)
        outside.kill()
        outside.wait()
