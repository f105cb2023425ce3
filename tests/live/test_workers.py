"""Several processes that serve requests, on a real agent."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.agent import pids, running
from tests.live.installed import Upload, get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.live.agent import Agent

pytestmark = pytest.mark.live

PROCESSES = 3
SECONDS_MAX = 60.0
"""How long it may take until each process has answered a request."""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with running(tmp_path, workers=PROCESSES, drain={"timeout": 300}, limits={"body_timeout": 300}) as agent:
        yield agent


def entries(agent: Agent) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = agent.status()["agent"]["workers"]
    return found


def until(agent: Agent, true: Callable[[], bool], what: str) -> None:
    agent.wait_until(lambda: {} if true() else None, what)


def serve_in_all(agent: Agent) -> None:
    """Send requests until each process has answered one."""
    deadline = time.monotonic() + SECONDS_MAX
    while not all(entry["requests"] for entry in entries(agent)):
        assert time.monotonic() < deadline, f"only some processes answer: {entries(agent)}"
        assert get(agent)[0] == 200


def open_in_all(agent: Agent) -> list[Upload]:
    """Begin uploads until each process has one."""
    until(agent, lambda: not any(entry["connections"] for entry in entries(agent)), "the end of other connections")
    uploads: list[Upload] = []
    while not all(entry["connections"] for entry in entries(agent)):
        assert len(uploads) < 200, entries(agent)
        uploads.append(Upload(agent))
        expected = len(uploads)
        until(agent, lambda n=expected: sum(one["connections"] for one in entries(agent)) >= n, "the status")  # type: ignore[misc]
    return uploads


def gone(agent: Agent, workers: list[int]) -> None:
    until(agent, lambda: not set(workers) & set(pids()), "the end of the workers")


def test_all_processes_serve_and_their_sum_is_the_generations(agent: Agent) -> None:
    serve_in_all(agent)
    until(
        agent,
        lambda: sum(one["requests"] for one in entries(agent)) == agent.status()["generations"][0]["requests"],
        "the sum",
    )
    assert agent.process is not None
    assert entries(agent)[0]["pid"] == agent.process.pid
    assert len(entries(agent)) == PROCESSES
    workers = agent.workers()
    assert agent.stop() == 0
    assert not set(workers) & set(pids())


def test_a_generation_drains_until_the_last_request_of_every_process(agent: Agent) -> None:
    serve_in_all(agent)
    uploads = open_in_all(agent)
    agent.flip("b")
    live = agent.wait_for("generation.live", generation=2)
    assert {get(agent) for _ in range(30)} == {(200, "2")}, live
    for upload in uploads:
        assert agent.find("generation.retired", generation=1) is None
        assert upload.finish() == (200, "1")
    retired = agent.wait_for("generation.retired", generation=1)
    assert (retired["killed"], retired["left"]) == (False, [])


def test_a_worker_that_is_killed_is_started_again_and_costs_its_own_requests_alone(agent: Agent) -> None:
    serve_in_all(agent)
    before = entries(agent)
    uploads = open_in_all(agent)
    killed = before[1]["pid"]
    os.kill(killed, signal.SIGKILL)
    assert agent.wait_for("worker.exited")["pid"] == killed
    started = agent.wait_for("worker.started")
    until(agent, lambda: entries(agent)[1]["pid"] == started["pid"], "the status")
    lost = 0
    for upload in uploads:
        try:
            assert upload.finish() == (200, "1")
        except (OSError, http.client.HTTPException):
            lost += 1
    assert 0 < lost < len(uploads)
    assert entries(agent)[1]["requests"] >= before[1]["requests"]
    assert agent.find("generation.crashed") is None
    agent.flip("b")
    agent.wait_for("generation.retired", generation=1)
    assert agent.stop() == 0


def test_the_workers_end_with_an_agent_that_is_killed(agent: Agent) -> None:
    serve_in_all(agent)
    workers = agent.workers()
    since = agent.restart()
    agent.wait_for("generation.adopted", since, generation=1, state="live")
    gone(agent, workers)
    serve_in_all(agent)
    assert agent.stop() == 0


def test_an_upgrade_replaces_all_workers_and_finishes_their_requests(agent: Agent) -> None:
    serve_in_all(agent)
    uploads, workers = open_in_all(agent), agent.workers()
    config = json.loads((agent.directory / "rainbowd.json").read_text())
    (agent.directory / "rainbowd.json").write_text(json.dumps({**config, "workers": 2}))
    assert agent.upgrade()["event"] == "agent.upgraded"
    until(agent, lambda: len(entries(agent)) == 2, "the new agent's status")
    agent.flip("b")
    agent.wait_for("generation.live", generation=2)
    assert agent.find("generation.retired", generation=1) is None
    for upload in uploads:
        assert upload.finish() == (200, "1")
    gone(agent, workers)
    agent.upgraded[0].wait(60)
    agent.wait_for("generation.retired", generation=1)
    assert agent.stop() == 0


def test_a_pause_holds_the_requests_of_all_processes(agent: Agent) -> None:
    serve_in_all(agent)
    pause = agent.directory / "rainbowd.pause"
    pause.write_text("20\n")
    until(agent, lambda: agent.status()["pause"] is not None, "the pause")
    answers: list[int] = []
    asking = [threading.Thread(target=lambda: answers.append(get(agent)[0])) for _ in range(12)]
    for thread in asking:
        thread.start()
    until(agent, lambda: sum(one["connections"] for one in entries(agent)) >= len(asking), "the requests")
    until(agent, lambda: agent.status()["generations"][0]["in_flight"] == 0, "no request in flight")
    assert not answers
    pause.unlink()
    for thread in asking:
        thread.join(30)
    assert answers == [200] * len(asking)


def test_maintenance_and_its_page_are_those_of_all_processes(agent: Agent) -> None:
    serve_in_all(agent)
    page = "<p>later" + "x" * 300_000
    (agent.directory / "rainbowd.maintenance").write_text(page)
    agent.wait_for("agent.maintenance", on=True)
    for _ in range(20):
        connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
        connection.request("GET", "/")
        response = connection.getresponse()
        assert (response.status, response.read().decode()) == (503, page)
        connection.close()
    (agent.directory / "rainbowd.maintenance").unlink()
    agent.wait_for("agent.maintenance", on=False)
    assert {get(agent)[0] for _ in range(20)} == {200}


def test_the_limit_of_connections_is_that_of_all_processes(tmp_path: Path) -> None:
    with (
        running(tmp_path, workers=2, limits={"connections": 10, "head_timeout": 300}) as agent,
        contextlib.ExitStack() as stack,
    ):
        until(agent, lambda: all(entry["pid"] for entry in entries(agent)), "the worker")
        for expected in range(1, 11):
            stack.enter_context(socket.create_connection((agent.host, agent.port)))
            until(
                agent,
                lambda n=expected: sum(one["connections"] for one in entries(agent)) == n,  # type: ignore[misc]
                "the connection",
            )
        assert get(agent)[0] == 503


def test_errors_in_every_process_fail_a_bake(tmp_path: Path) -> None:
    with running(tmp_path, workers=PROCESSES, bake={"seconds": 60, "min_errors": 10}) as agent:
        serve_in_all(agent)
        agent.add_release("bad", fail_every=1)
        agent.flip("bad")
        agent.wait_for("generation.live", generation=2)
        deadline = time.monotonic() + SECONDS_MAX
        while agent.find("deploy.failed") is None and time.monotonic() < deadline:
            get(agent)
        failed = agent.wait_for("deploy.failed")
        assert failed["rolled_back_to"] == 1
        assert get(agent) == (200, "1")


def test_one_process_is_shown_as_before(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        assert "workers" not in agent.status()["agent"]
        assert agent.workers() == []
