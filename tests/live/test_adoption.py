"""The agent is killed, and the next one finds what it left."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.agent import APP, Agent, Event, running
from tests.story import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.live

QUICK = {"drain": {"timeout": 20, "kill_after": 2}}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with running(tmp_path, **QUICK) as agent:
        yield agent
        if agent.process is not None and agent.process.poll() is None:
            assert agent.stop() == 0, agent.output()
        assert agent.processes() == []
        assert [entry.name for entry in agent.state_dir.iterdir() if entry.name.startswith("generation-")] == []
        assert problems(agent.events()) == []


def get(agent: Agent, path: str = "/") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def ask_in_vain(agent: Agent, path: str) -> None:
    """Send a request, and check that the connection ends without an answer."""
    with pytest.raises((OSError, http.client.HTTPException)):
        get(agent, path)


def generation(agent: Agent, number: int) -> Event:
    return next(one for one in agent.status()["generations"] if one["id"] == number)


def until(agent: Agent, look: Callable[[], bool], what: str) -> None:
    agent.wait_until(lambda: {} if look() else None, what)


def record(agent: Agent, number: int = 1) -> Path:
    return agent.state_dir / f"generation-{number}.json"


def change_record(agent: Agent, **changes: object) -> None:
    record(agent).write_text(json.dumps(json.loads(record(agent).read_text()) | changes))


def decided(agent: Agent, since: int, **fields: object) -> Event:
    event = agent.decision(since, **fields)
    assert event["event"] == "deploy.succeeded", agent.output()
    return event


def test_the_live_generation_is_adopted_and_continues_unchanged(agent: Agent) -> None:
    before = get(agent)[1]["pid"]
    since = agent.restart()
    adopted = agent.wait_for("generation.adopted", since)
    assert (adopted["generation"], adopted["state"], adopted["pid"]) == (1, "live", before)
    assert get(agent)[1]["pid"] == before
    assert agent.find("deploy.requested", since) is None
    assert agent.status()["last_deploy"]["result"] == "succeeded"
    agent.flip("b")
    assert decided(agent, since, trigger="symlink")["generation"] == 2
    retired = agent.wait_for("generation.retired", since, generation=1)
    assert (retired["exit_status"], retired["killed"], retired["left"]) == (None, False, [])


def test_a_link_turned_while_no_agent_ran_is_deployed(agent: Agent) -> None:
    agent.kill()
    since = len(agent.events())
    agent.flip("b")
    agent.start()
    assert decided(agent, since, trigger="symlink")["generation"] == 2
    assert agent.wait_for("generation.adopted", since, generation=1, state="live")


def test_a_trigger_file_touched_while_no_agent_ran_is_heeded(agent: Agent) -> None:
    agent.kill()
    since = len(agent.events())
    agent.touch()
    agent.start()
    assert decided(agent, since, trigger="file")["generation"] == 2


def test_a_candidate_is_ended_and_its_deploy_recorded_as_failed_and_repeated(agent: Agent) -> None:
    slow = agent.add_release("slow", awaits="go")
    since = len(agent.events())
    agent.flip("slow")
    agent.wait_for("generation.launched", since)
    killed = agent.restart()
    (slow / "go").touch()
    failed = agent.wait_for("deploy.failed", killed)
    assert failed["reason"] == "interrupted: the agent was killed"
    assert failed["deploy"] == agent.events()[since]["deploy"]
    agent.wait_for("generation.retired", killed, generation=2)
    assert agent.wait_for("generation.adopted", killed, generation=1)
    assert decided(agent, killed, trigger="symlink")["release"] == str(slow)


def test_a_draining_one_has_the_rest_of_its_time(agent: Agent) -> None:
    agent.configure(drain={"timeout": 6, "kill_after": 1})
    agent.touch()
    decided(agent, 0, trigger="file")
    agent.wait_for("generation.retired", generation=1)
    slow = threading.Thread(target=ask_in_vain, args=(agent, "/slow?ms=60000"))
    slow.start()
    until(agent, lambda: generation(agent, 2)["in_flight"] == 1, "the request")
    since = len(agent.events())
    agent.flip("b")
    agent.wait_for("generation.draining", since, generation=2)
    killed = agent.restart()
    slow.join(30)
    assert agent.wait_for("generation.adopted", killed, state="draining")["generation"] == 2
    assert agent.wait_for("generation.adopted", killed, state="live")["generation"] == 3
    retired = agent.wait_for("generation.retired", killed, generation=2)
    assert retired["drain_seconds"] > 5.9


def test_a_standby_is_adopted_and_switched_back_to_at_once(agent: Agent) -> None:
    agent.configure(standby=60, **QUICK)
    since = len(agent.events())
    agent.flip("b")
    decided(agent, since)
    agent.wait_for("generation.standby", since)
    killed = agent.restart()
    agent.wait_for("generation.adopted", killed, state="standby", generation=1)
    agent.flip("a")
    assert agent.decision(killed)["event"] == "deploy.rolled_back"
    assert agent.status()["live"] == 1
    assert agent.find("generation.launched", killed) is None


def test_a_live_one_that_died_while_no_agent_ran_is_relaunched(agent: Agent) -> None:
    pid = generation(agent, 1)["pid"]
    agent.kill()
    os.kill(pid, signal.SIGKILL)
    since = len(agent.events())
    agent.start()
    assert decided(agent, since, trigger="start")["generation"] == 2
    assert agent.wait_for("generation.crashed", since, generation=1)
    assert agent.wait_for("generation.retired", since, generation=1)


def test_a_live_one_that_does_not_answer_is_ended_and_relaunched(agent: Agent) -> None:
    agent.configure(health={"path": "/up", "timeout": 0.5}, **QUICK)
    agent.touch()
    decided(agent, 0, trigger="file")
    agent.wait_for("generation.retired", generation=1)
    os.kill(generation(agent, 2)["pid"], signal.SIGSTOP)
    since = agent.restart()
    assert decided(agent, since, trigger="start")["generation"] == 3
    assert "no answer" in agent.wait_for("generation.crashed", since, generation=2)["reason"]
    assert agent.wait_for("generation.retired", since, generation=2)["killed"]


def test_a_port_that_somebody_else_took_is_not_served(agent: Agent) -> None:
    pid, address = generation(agent, 1)["pid"], generation(agent, 1)["address"]
    agent.kill()
    os.kill(pid, signal.SIGKILL)
    other = [sys.executable, str(APP), address.rpartition(":")[2]]
    with subprocess.Popen(other, cwd=agent.directory / "releases" / "b") as stranger:
        try:
            port = int(address.rpartition(":")[2])
            while not is_listening(port):
                assert stranger.poll() is None
                time.sleep(0.02)
            since = len(agent.events())
            agent.start()
            assert decided(agent, since, trigger="start")["generation"] == 2
            assert get(agent)[1]["pid"] != stranger.pid
            assert stranger.poll() is None
        finally:
            stranger.kill()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_number_that_a_stranger_has_now_is_not_touched(agent: Agent) -> None:
    pid = generation(agent, 1)["pid"]
    agent.kill()
    os.kill(pid, signal.SIGKILL)
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            change_record(agent, pid=stranger.pid, pgid=stranger.pid)
            since = len(agent.events())
            agent.start()
            assert decided(agent, since, trigger="start")["generation"] == 2
            agent.wait_for("generation.retired", since, generation=1)
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text(""),
        lambda path: path.write_text(path.read_text()[:150]),
        lambda path: path.write_text(path.read_text().replace('"format": 1', '"format": 2')),
        lambda path: path.write_text(path.read_text().replace('"state_dir": "', '"state_dir": "/elsewhere')),
        lambda path: path.unlink(),
    ],
    ids=["empty", "torn", "future", "foreign", "lost"],
)
def test_the_generation_of_a_bad_record_is_ended_and_its_release_relaunched(
    agent: Agent, spoil: Callable[[Path], object]
) -> None:
    before = generation(agent, 1)["pid"]
    agent.kill()
    spoil(record(agent))
    since = len(agent.events())
    agent.start()
    assert decided(agent, since, trigger="start")["generation"] == 2
    agent.wait_for("generation.retired", since, generation=1)
    assert not is_running(before)


def test_a_record_of_another_boot_touches_nothing_and_what_is_marked_is_ended(agent: Agent) -> None:
    agent.kill()
    change_record(agent, boot_id="5d1f1b6c-0000-4000-8000-000000000000")
    since = len(agent.events())
    agent.start()
    assert decided(agent, since, trigger="start")["generation"] == 2
    agent.wait_for("generation.retired", since, generation=1)


def test_lines_that_were_written_while_no_agent_ran_are_not_lost(agent: Agent) -> None:
    agent.kill()
    fifo = os.open(agent.state_dir / "generation-1.out", os.O_WRONLY | os.O_NONBLOCK)  # the app is its reader
    os.write(fifo, b"said to nobody\n")
    os.close(fifo)
    since = len(agent.events())
    agent.start()
    agent.wait_for("generation.adopted", since)
    until(agent, lambda: "said to nobody" in agent.output(), "the line")


def test_a_crash_of_one_that_was_adopted_is_answered_with_its_own_environment(agent: Agent) -> None:
    agent.configure(env={"COLOUR": "green"}, **QUICK)
    agent.touch()
    decided(agent, 0, trigger="file")
    agent.wait_for("generation.retired", generation=1)
    agent.configure(env={"COLOUR": "red"}, **QUICK)
    since = agent.restart()
    pid = agent.wait_for("generation.adopted", since, state="live")["pid"]
    os.kill(pid, signal.SIGKILL)
    crashed = agent.wait_for("generation.crashed", since)
    assert crashed["exit_status"] is None
    relaunched = agent.wait_for("generation.launched", since, relaunch=True)
    agent.wait_for("generation.live", since)
    assert b"COLOUR=green" in Path(f"/proc/{relaunched['pid']}/environ").read_bytes().split(b"\0")
    assert get(agent)[0] == 200


@pytest.mark.parametrize("reached_by", ["{port}", "{socket}"])
def test_one_that_has_no_health_check_is_adopted_by_its_listening_socket(tmp_path: Path, reached_by: str) -> None:
    with running(tmp_path, run=[sys.executable, str(APP), reached_by], **QUICK) as agent:
        before = get(agent)[1]["pid"]
        launched_by = agent.state_dir / "generation-1.plan"
        plan = json.loads(launched_by.read_text())
        plan["config"] |= {"health": None, "warmup": 1}
        launched_by.write_text(json.dumps(plan))
        since = agent.restart()
        agent.wait_for("generation.adopted", since, state="live")
        assert get(agent)[1]["pid"] == before
        since = len(agent.events())
        assert agent.upgrade()["event"] == "agent.upgraded"
        assert get(agent)[1]["pid"] == before
        agent.flip("b")
        decided(agent, since)
        agent.wait_for("generation.retired", since, generation=1)
        assert agent.stop() == 0
        assert agent.processes() == []


DAEMON = """
import ctypes, os, subprocess, sys
app, port = sys.argv[1:]
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
with open(os.environ["PIDFILE"], "w") as file: print(os.getpid(), file=file)
env = {name: value for name, value in os.environ.items() if not name.startswith("RAINBOWD")}
os.execve(sys.executable, [sys.executable, app, port], env)
"""


def test_a_daemon_that_has_lost_its_mark_is_adopted_by_its_record(tmp_path: Path) -> None:
    run = [sys.executable, "-c", DAEMON, str(APP), "{port}"]
    with running(tmp_path, run=run, **QUICK) as agent:
        before = get(agent)[1]["pid"]
        try:
            since = agent.restart()
            agent.wait_for("generation.adopted", since, state="live")
            assert get(agent)[1]["pid"] == before
            agent.flip("b")
            decided(agent, since)
            agent.wait_for("generation.retired", since, generation=1)
            assert not is_running(before)
            assert agent.stop() == 0
        finally:
            if is_running(before):
                os.kill(before, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Return whether the process with this pid is the app, and has not ended."""
    try:
        return str(APP) in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_after_a_failed_deploy_and_a_reboot_what_was_live_before_comes_up(agent: Agent) -> None:
    agent.add_release("bad", exit_status=3)
    since = len(agent.events())
    agent.flip("bad")
    assert agent.decision(since)["event"] == "deploy.failed"
    assert agent.stop() == 0
    since = len(agent.events())
    agent.start()
    live = agent.wait_for("generation.live", since)
    assert live["release"].endswith("/a")
    assert agent.find("deploy.requested", since) is None, "what failed is not tried again by itself"
    assert agent.status()["last_deploy"]["result"] == "failed"
    assert get(agent)[0] == 200
    quiet = len(agent.events())
    assert agent.restart() >= quiet
    agent.wait_for("generation.adopted", quiet, state="live")
    assert agent.find("deploy.requested", quiet) is None
