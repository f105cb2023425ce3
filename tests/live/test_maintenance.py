"""Maintenance, pauses and error pages of a real agent, by command and by file."""

from __future__ import annotations

import subprocess
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import Agent, command, running
from tests.live.installed import Upload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.live


def answer(agent: Agent, path: str = "/", **fields: str) -> tuple[int, bytes, str]:
    """Return the status, the body and the type of an answer."""
    request = urllib.request.Request(f"http://{agent.host}:{agent.port}{path}", headers=fields)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read(), response.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["Content-Type"]


def rainbowd(agent: Agent, *words: str) -> tuple[int, str]:
    name, *rest = words
    run = subprocess.run(
        command(name, "--config", str(agent.directory / "rainbowd.json"), *rest),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return run.returncode, run.stdout + run.stderr


def eventually(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_maintenance_goes_on_and_off_by_command_and_a_deploy_works_meanwhile(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        assert rainbowd(agent, "maintenance") == (0, "off\n")
        assert rainbowd(agent, "maintenance", "on", "--message", "<h1>Back at 10</h1>")[0] == 0
        assert answer(agent) == (503, b"<h1>Back at 10</h1>\n", "text/html; charset=utf-8")
        assert rainbowd(agent, "maintenance") == (0, "on\n")
        began = agent.wait_for("agent.maintenance", on=True)
        assert began["by"]
        assert agent.status()["maintenance"]["by"] == began["by"]
        assert rainbowd(agent, "deploy", "b")[0] == 0
        assert answer(agent)[0] == 503
        assert rainbowd(agent, "maintenance", "off")[0] == 0
        assert answer(agent)[0] == 200
        agent.wait_for("agent.maintenance", on=False)
        eventually(lambda: agent.status()["maintenance"] is None)


def test_maintenance_by_file_lasts_across_a_kill_and_an_upgrade(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        file = agent.directory / "rainbowd.maintenance"
        file.write_text("closed")
        eventually(lambda: answer(agent)[1] == b"closed")
        agent.upgrade()
        assert answer(agent)[1] == b"closed"
        since = agent.restart()
        agent.wait_for("agent.started", since)
        eventually(lambda: agent.status()["agent"]["state"] == "ready")
        assert answer(agent)[1] == b"closed"
        file.unlink()
        eventually(lambda: answer(agent)[0] == 200)


def test_a_pause_returns_when_nothing_is_in_flight_and_resume_lets_the_requests_go(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        upload = Upload(agent)
        paused: list[tuple[int, str]] = []
        pause = threading.Thread(target=lambda: paused.append(rainbowd(agent, "pause", "--timeout", "20")))
        pause.start()
        eventually(lambda: agent.status()["pause"] is not None)
        assert not paused
        assert upload.finish()[0] == 200
        pause.join()
        assert (paused[0][0], "no request is in flight" in paused[0][1]) == (0, True), paused
        held: list[tuple[int, bytes, str]] = []
        second = threading.Thread(target=lambda: held.append(answer(agent)))
        second.start()
        time.sleep(0.5)
        assert not held
        assert agent.status()["pause"]["seconds"] == 20
        assert rainbowd(agent, "resume")[0] == 0
        second.join()
        assert held[0][0] == 200
        eventually(lambda: agent.status()["pause"] is None)


def test_a_pause_file_refuses_after_its_seconds_and_is_forgotten_after_ten_times_that(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        (agent.directory / "rainbowd.pause").write_text("1\n")
        eventually(lambda: agent.status()["pause"] is not None)
        assert answer(agent)[0] == 503
        eventually(lambda: answer(agent)[0] == 200)
        eventually(lambda: "the pause has ended by itself" in agent.output())


def test_browsers_get_the_error_pages(tmp_path: Path) -> None:
    (tmp_path / "errors").mkdir()
    (tmp_path / "errors" / "503.html").write_text("<h1>Sorry</h1>")
    with running(tmp_path, error_pages="errors") as agent:
        (agent.directory / "rainbowd.pause").write_text("2\n")
        eventually(lambda: agent.status()["pause"] is not None)
        assert answer(agent, Accept="text/html")[1] == b"<h1>Sorry</h1>"
        (tmp_path / "errors" / "503.html").write_text("<h1>We are sorry</h1>")
        eventually(lambda: answer(agent, Accept="text/html")[1] == b"<h1>We are sorry</h1>")


def test_commands_need_an_agent_and_a_file(tmp_path: Path) -> None:
    agent = Agent(tmp_path, pause_file=None)
    assert rainbowd(agent, "maintenance", "on")[0] == 3
    assert rainbowd(agent, "maintenance") == (0, "off\n")
    assert rainbowd(agent, "pause")[0] == 2
