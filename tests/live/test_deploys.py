from __future__ import annotations

import http.client
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import APP, Agent, running
from tests.live.installed import Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.live

QUICK = {"drain": {"kill_after": 2}}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with running(tmp_path, **QUICK) as agent:
        yield agent


def get(agent: Agent, path: str = "/") -> tuple[int, str]:
    connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def deploy(agent: Agent, ask: Callable[[], None]) -> dict[str, object]:
    since = len(agent.events())
    ask()
    return agent.decision(since)


def live(agent: Agent) -> int:
    """Return the live generation, once the status names one."""
    number = agent.wait_until(lambda: agent.status() if agent.status()["live"] else None, "a live generation")["live"]
    assert isinstance(number, int)
    return number


def nothing_left_of(agent: Agent, failed: dict[str, object]) -> None:
    """Check that the candidate is retired, and that only the processes of the status run."""
    agent.wait_for("generation.retired", generation=failed["generation"])

    def only_what_serves() -> bool:
        serving = {generation["pid"] for generation in agent.status()["generations"]}
        return set(agent.processes()) == serving and not agent.zombies()

    agent.wait_until(lambda: {} if only_what_serves() else None, "no other process")


@pytest.mark.parametrize(
    ("behaviour", "deadline", "reason"),
    [
        ({"exit_status": 3}, 60, "the app exited with status 3 before it was ready"),
        ({"listen": False}, 3, "Connection refused; the app does not listen anywhere"),
        ({"up_status": 500}, 10, "answered 500 "),  # within that time it listens, also on a busy machine
    ],
)
def test_a_bad_release_never_goes_live_and_the_journal_has_the_reason(
    agent: Agent, behaviour: dict[str, object], deadline: int, reason: str
) -> None:
    agent.add_release("bad", output=["about to go wrong"], **behaviour)
    agent.configure(health={"path": "/up", "deadline": deadline, "timeout": 0.5}, **QUICK)
    before = live(agent)
    failed = deploy(agent, lambda: agent.flip("bad"))
    assert failed["event"] == "deploy.failed"
    assert reason in str(failed["reason"])
    assert "about to go wrong" in failed["output"]  # type: ignore[operator]
    assert live(agent) == before
    assert get(agent)[0] == 200
    nothing_left_of(agent, failed)


def test_a_command_that_is_not_there_fails_the_deploy_with_those_words(agent: Agent) -> None:
    agent.configure(run=["no-such-command", "{port}"], **QUICK)
    failed = deploy(agent, agent.touch)
    assert str(failed["reason"]).startswith("run: command not found: no-such-command; PATH is ")
    assert get(agent)[0] == 200


def test_a_broken_config_fails_the_deploy_and_changes_nothing(agent: Agent) -> None:
    (agent.directory / "rainbowd.json").write_text("{")
    failed = deploy(agent, agent.touch)
    assert failed["event"] == "deploy.failed"
    assert "rainbowd.json: line 1" in str(failed["reason"])
    agent.configure(**QUICK)
    agent.trigger_file.unlink()
    assert deploy(agent, agent.touch)["event"] == "deploy.succeeded"


def test_a_dangling_link_is_one_failed_deploy_and_turning_it_back_launches_nothing(agent: Agent) -> None:
    before = live(agent)
    failed = deploy(agent, lambda: agent.flip("gone"))
    assert "is a dangling link" in str(failed["reason"])
    back = deploy(agent, lambda: agent.flip("a"))
    assert back["event"] == "deploy.rolled_back"
    assert live(agent) == before
    assert sum(event["event"] == "generation.launched" for event in agent.events()) == 1
    assert agent.status()["last_deploy"]["result"] == "failed"


def test_requests_in_flight_at_the_switch_are_finished_by_the_old_generation(agent: Agent) -> None:
    before = live(agent)
    upload = Upload(agent)
    assert deploy(agent, lambda: agent.flip("b"))["event"] == "deploy.succeeded"
    assert agent.find("generation.retired", generation=before) is None
    assert upload.finish() == (200, str(before))
    retired = agent.wait_for("generation.retired", generation=before)
    assert (retired["killed"], retired["left"], retired["exit_status"]) == (False, [], 0)


def test_at_the_limit_of_draining_a_request_is_cut_so_that_nobody_takes_it_for_whole(tmp_path: Path) -> None:
    with running(tmp_path, drain={"timeout": 0.5, "kill_after": 2}) as agent:
        seen: list[object] = []

        def ask(path: str) -> None:
            try:
                seen.append(get(agent, path)[0])
            except http.client.IncompleteRead:
                seen.append("broken off")

        clients = [threading.Thread(target=ask, args=(path,)) for path in ("/slow?ms=60000", "/stream?seconds=60")]
        for client in clients:
            client.start()
        agent.wait_until(lambda: {} if agent.status()["generations"][0]["in_flight"] == 2 else None, "both requests")
        assert deploy(agent, agent.touch)["event"] == "deploy.succeeded"
        for client in clients:
            client.join()
        assert set(seen) == {504, "broken off"}
        agent.wait_for("generation.retired", generation=1)  # and what it still does for nobody with it


def test_many_touches_during_one_deploy_cost_one_more(agent: Agent) -> None:
    agent.add_release("slow", awaits="../../go")
    since = len(agent.events())
    agent.flip("slow")
    agent.wait_for("generation.launched", since)
    for _ in range(100):
        agent.touch()
        time.sleep(0.002)  # apart, so that they are a hundred
    agent.trigger_file.write_text('{"request": "the last"}')
    agent.wait_for("deploy.requested", since, request="the last")
    (agent.directory / "go").touch()
    first = agent.decision(since, trigger="symlink")
    second = agent.decision(since, trigger="file")
    assert {first["event"], second["event"]} == {"deploy.succeeded"}
    launched = [event for event in agent.events()[since:] if event["event"] == "generation.launched"]
    assert len(launched) == 2


def test_a_link_turned_elsewhere_drops_the_candidate_that_still_boots(agent: Agent) -> None:
    agent.add_release("slow", awaits="never")
    since = len(agent.events())
    agent.flip("slow")
    agent.wait_for("generation.launched", since)
    agent.flip("b")
    first = agent.wait_for("deploy.failed", since)
    assert str(first["reason"]).startswith("superseded by ")
    succeeded = agent.wait_for("deploy.succeeded", since)
    assert str(succeeded["release"]).endswith("/b")
    agent.wait_for("generation.retired", since, generation=1)
    nothing_left_of(agent, first)


def test_a_live_app_that_dies_is_launched_again_while_requests_wait(agent: Agent) -> None:
    before = live(agent)
    os.kill(agent.status()["generations"][0]["pid"], signal.SIGKILL)
    crashed = agent.wait_for("generation.crashed")
    assert (crashed["generation"], crashed["exit_status"]) == (before, -signal.SIGKILL)
    assert get(agent)[0] == 200
    assert live(agent) != before
    assert agent.find("generation.launched", relaunch=True)


def test_a_live_app_whose_release_was_deleted_serves_on_but_is_not_launched_again(agent: Agent) -> None:
    shutil.rmtree(agent.directory / "releases" / "a")
    assert "is a dangling link" in str(agent.wait_for("deploy.failed")["reason"])
    assert get(agent)[0] == 200
    os.kill(agent.status()["generations"][0]["pid"], signal.SIGKILL)
    words = f"release: directory gone: {agent.directory}/releases/a"
    agent.wait_until(lambda: {} if words in agent.output(100) else None, "a relaunch that fails")
    assert get(agent)[0] == 503
    assert deploy(agent, lambda: agent.flip("b"))["event"] == "deploy.succeeded"
    assert get(agent)[0] == 200


def test_while_nothing_is_live_requests_wait_within_the_limits_of_hold(tmp_path: Path) -> None:
    agent = Agent(tmp_path, hold={"timeout": 5.0, "limit": 2})
    agent.add_release("a", awaits="never")
    agent.flip("a")
    agent.start()
    try:
        agent.wait_for("generation.launched")
        seen: list[str] = []
        clients = [threading.Thread(target=lambda: seen.append(get(agent)[1])) for _ in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        told = Counter(text.partition(": ")[2].strip() for text in seen)
        assert told == {"Nothing answered in time.": 2, "Too many requests are waiting for the app.": 2}
    finally:
        agent.destroy()


def test_an_app_that_ignores_the_signal_is_killed_at_the_limit(agent: Agent) -> None:
    agent.add_release("deaf", ignore_term=True)
    deaf = deploy(agent, lambda: agent.flip("deaf"))
    deploy(agent, lambda: agent.flip("b"))
    retired = agent.wait_for("generation.retired", generation=deaf["generation"])
    assert (retired["killed"], retired["exit_status"]) == (True, -signal.SIGKILL)


ESCAPE = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open("../../escaped", "a") as file: print(os.getpid(), file=file)
        os.execve("/bin/sleep", ["sleep", "300"], {})
    os._exit(0)
os.wait()
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_what_left_its_session_and_cleared_its_environment_ends_with_its_generation(tmp_path: Path) -> None:
    with running(tmp_path, run=[sys.executable, "-c", ESCAPE, str(APP), "{port}"], drain={"kill_after": 2}) as agent:
        assert deploy(agent, lambda: agent.flip("b"))["event"] == "deploy.succeeded"
        agent.wait_for("generation.retired", generation=1)
        escaped = tmp_path / "escaped"
        agent.wait_until(lambda: {} if escaped.read_text().count("\n") == 2 else None, "the second to escape")
        first, second = map(int, escaped.read_text().split())
        agent.wait_until(lambda: {} if is_there(second) else None, "its program")
        assert not is_there(first)
        assert agent.stop() == 0
        assert not is_there(second)


def is_there(pid: int) -> bool:
    """Return whether a process runs; one that waits to be reaped does not."""
    try:
        return b"sleep" in (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def test_a_generation_on_a_unix_socket_is_served_and_its_socket_removed(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        agent.configure(run=[sys.executable, str(APP), "{socket}"])
        decided = deploy(agent, agent.touch)
        assert decided["event"] == "deploy.succeeded", agent.output()
        assert agent.status()["generations"][-1]["address"].startswith("unix:")
        assert get(agent)[0] == 200
        assert agent.stop() == 0
        assert [entry.name for entry in agent.state_dir.iterdir() if entry.name.startswith("generation-")] == []


def test_a_warm_up_goes_by_the_listening_socket(tmp_path: Path) -> None:
    with running(tmp_path, health=None, warmup=0.7) as agent:
        agent.add_release("mute", listen=False)
        failed = deploy(agent, lambda: agent.flip("mute"))
        assert "not listening on 127.0.0.1:" in str(failed["reason"])
        assert "after the warm-up" in str(failed["reason"])
        assert get(agent)[0] == 200


def kinds(agent: Agent) -> list[str]:
    return [warning["kind"] for warning in agent.status()["warnings"]]


def test_a_missing_release_is_waited_for(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    agent.start()
    try:
        agent.wait_until(lambda: {} if (tmp_path / "state" / "status.json").exists() else None, "a status")
        agent.wait_until(lambda: agent.status() if kinds(agent) == ["waiting"] else None, "a status that says so")
        assert get(agent)[0] == 503
        assert agent.find("deploy.failed") is None
        agent.add_release("a")
        since = len(agent.events())
        agent.flip("a")
        agent.wait_for("deploy.succeeded", since)
        assert get(agent)[0] == 200
    finally:
        agent.destroy()
