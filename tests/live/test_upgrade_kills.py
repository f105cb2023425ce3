"""An upgrade in which one of the two agents is killed: that is a crash like any other, or nothing at all."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import PATIENCE_SECONDS
from tests.live.installed import Upload, get, install, installed, looking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.live.agent import Agent, Event

pytestmark = [pytest.mark.live, pytest.mark.long]

PHASES = {
    "before it is offered anything": "halts_at_start",
    "while it serves on trial": "halts_on_trial",
    "before it says that it is ready": "halts_before_ready",
}
"""How far the new agent of an upgrade can be, and the fault that stops it there."""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with installed(tmp_path) as agent:
        yield agent


def halt(agent: Agent, phase: str) -> int:
    """Let an upgrade stop in a phase, and return the pid of the new agent."""
    (agent.directory / "reached").unlink(missing_ok=True)
    install(agent.directory, PHASES[phase])
    assert agent.process is not None
    agent.process.send_signal(signal.SIGUSR2)
    agent.wait_until(lambda: {} if (agent.directory / "reached").exists() else None, "the new program")
    (program,) = set(agent.agents()) - {agent.process.pid}
    install(agent.directory)
    return program


def test_if_the_old_agent_is_killed_the_new_one_ends_and_the_next_start_continues(agent: Agent) -> None:
    app = agent.status()["generations"][0]["pid"]
    for phase in PHASES:
        program = halt(agent, phase)
        since = agent.restart()
        agent.wait_for("generation.adopted", since, generation=1, state="live")
        agent.wait_until(lambda pid=program: None if pid in agent.agents() else {}, f"the end of {program}")  # type: ignore[misc]
        assert get(agent) == (200, "1"), phase
        assert agent.status()["generations"][0]["pid"] == app, phase
        assert agent.process is not None
        assert agent.agents() == [agent.process.pid], phase
    assert agent.upgrade()["event"] == "agent.upgraded"
    stops_well(agent)


def test_if_the_new_agent_is_killed_the_old_one_continues_and_is_the_only_one(agent: Agent) -> None:
    before = agent.status()
    upload = Upload(agent)
    for phase in PHASES:
        since = len(agent.events())
        with looking(agent) as seen:
            program = halt(agent, phase)
            os.kill(program, signal.SIGKILL)
            assert "signal 9" in agent.wait_for("agent.upgrade_failed", since)["reason"], phase
            assert get(agent) == (200, "1"), phase
        assert seen <= {before["agent"]["pid"], program}, phase
        assert agent.agents() == [before["agent"]["pid"]], phase
    since = len(agent.events())
    agent.touch()
    assert agent.decision(since)["event"] == "deploy.succeeded"
    assert upload.finish() == (200, "1")
    agent.wait_for("generation.retired", since, generation=1)
    assert agent.status()["agent"] == before["agent"]
    stops_well(agent)


def test_agents_that_were_upgraded_wait_for_those_before_them_and_not_in_a_circle(agent: Agent) -> None:
    uploads = []
    for _ in range(3):
        uploads.append(Upload(agent))
        assert agent.upgrade()["event"] == "agent.upgraded"
    for upload, old in zip(uploads, agent.upgraded, strict=True):  # each looks now for others behind the one before it
        assert upload.finish() == (200, "1")
        old.wait(PATIENCE_SECONDS)
    stops_well(agent)


def stops_well(agent: Agent) -> None:
    """Check that a stop leaves no process and no file."""
    assert agent.stop() == 0
    for process in agent.upgraded:
        process.wait(PATIENCE_SECONDS)
    assert (agent.agents(), agent.processes(), left(agent)) == ([], [], [])


def left(agent: Agent) -> list[str]:
    """Return the files of generations and of upgraded agents in the state directory."""
    return [entry.name for entry in agent.state_dir.iterdir() if entry.name.startswith(("generation-", "upgraded-"))]


def kill_new(agent: Agent) -> None:
    """Upgrade, kill the new agent while the old one has a request, and start a third."""
    agent.upgrade()
    since = agent.restart()
    agent.wait_for("generation.adopted", since, generation=1, state="live")


def kill_middle(agent: Agent) -> None:
    """Upgrade twice, and kill the second agent, through which the third one knew of the first."""
    agent.upgrade()
    second = agent.process
    agent.upgrade()
    assert second is not None
    second.kill()
    second.wait()


def kill_last_two(agent: Agent) -> None:
    """Kill the second and the third agent: the fourth one has only the reports of the first."""
    kill_middle(agent)
    since = agent.restart()
    agent.wait_for("generation.adopted", since, generation=1, state="live")


@pytest.mark.parametrize("strike", [kill_new, kill_middle, kill_last_two])
def test_no_generation_is_stopped_while_an_agent_before_the_one_that_was_killed_has_a_request(
    agent: Agent, strike: Callable[[Agent], None]
) -> None:
    upload = Upload(agent)
    strike(agent)
    for release in "ba":  # the first is live there, or drains
        since = len(agent.events())
        agent.flip(release)
        assert agent.decision(since)["event"] == "deploy.succeeded"
    agent.wait_for("generation.retired", generation=2)
    agent.wait_until(lambda: draining(agent), "the request of the first agent")
    assert upload.finish() == (200, "1")
    retired = agent.wait_for("generation.retired", generation=1)
    assert (retired["killed"], retired["left"]) == (False, [])
    stops_well(agent)


def draining(agent: Agent) -> Event | None:
    """Return generation 1 if it drains with one request in flight and no tunnel."""
    found = (one for one in agent.status()["generations"] if one["id"] == 1)
    return next((one for one in found if (one["state"], one["in_flight"], one["tunnels"]) == ("draining", 1, 0)), None)


def test_a_draining_generation_has_its_time_while_an_agent_before_the_one_that_was_killed_has_a_request(
    agent: Agent,
) -> None:
    upload = Upload(agent)
    agent.upgrade()
    agent.flip("b")
    agent.wait_for("generation.live", generation=2)
    since = agent.restart()
    agent.wait_for("generation.adopted", since, generation=1, state="draining")
    agent.wait_until(lambda: draining(agent), "the request of the first agent")
    assert upload.finish() == (200, "1")
    stops_well(agent)


def test_a_stop_of_a_third_agent_waits_for_what_the_first_one_has(agent: Agent) -> None:
    upload = Upload(agent)
    kill_new(agent)
    stopping = threading.Thread(target=agent.stop)
    stopping.start()
    agent.wait_until(lambda: agent.status() if agent.status()["agent"]["state"] == "stopping" else None, "the stop")
    assert upload.finish() == (200, "1")
    stopping.join()
    stops_well(agent)


def test_what_an_old_agent_that_was_killed_left_is_removed(agent: Agent) -> None:
    with contextlib.closing(Upload(agent)):
        agent.upgrade()
        meeting = agent.state_dir / f"upgraded-1-{agent.upgraded[0].pid}"
        assert meeting.is_socket()
        agent.upgraded[0].kill()
        agent.wait_until(lambda: None if meeting.exists() else {}, "its end")
        assert get(agent) == (200, "1")


def test_a_program_that_dies_with_its_last_word_leaves_all_as_it_was(agent: Agent) -> None:
    install(agent.directory, "reads_ready_late")
    agent.restart()
    agent.wait_for("generation.adopted")
    install(agent.directory, "is_killed_when_ready")
    assert agent.upgrade()["event"] == "agent.upgrade_failed"
    assert get(agent) == (200, "1")
    assert agent.process is not None
    assert agent.agents() == [agent.process.pid]
