from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live import upgrades
from tests.live.agent import PATIENCE_SECONDS, ROOT, free_port, running
from tests.live.installed import Upload, get, install, installed, looking
from tests.live.ways_to_upgrade import a_call_on_trial, a_signal_beside_the_command, during_a_deploy, two_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.agent import Agent, Event

pytestmark = pytest.mark.live

FAILING = {
    "cannot_import": "import of rainbowd.agent halted",
    "hangs_at_start": "8 s",
    "exits_on_trial": "in vain",
    "is_killed_on_trial": "signal 9",
    "is_never_ready": "6 s",
}
"""The faults of another version, and the reason that each gives for a failed upgrade."""
PATIENCE = {"hangs_at_start": {"PREPARE_SECONDS": 8.0}, "is_never_ready": {"ADOPT_SECONDS": 6.0}}
"""How long the running agent waits for a new one that never comes so far."""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with installed(tmp_path) as agent:
        yield agent


@pytest.mark.long
def test_upgrades_under_traffic_lose_nothing_be_they_two_at_once_or_amid_deploys(tmp_path: Path) -> None:
    ways = [two_signals, during_a_deploy, a_signal_beside_the_command, a_call_on_trial]
    outcome = upgrades.run(tmp_path, ways)
    print(upgrades.report(outcome))
    assert outcome.wrong == []


def test_the_new_agent_continues_with_the_app_as_it_is(agent: Agent) -> None:
    before = agent.status()
    outcome = agent.upgrade()
    assert outcome["predecessor"]["pid"] == before["agent"]["pid"]
    assert agent.find("generation.adopted", generation=1, state="live")
    assert get(agent) == (200, "1")
    assert agent.status()["generations"][0]["pid"] == before["generations"][0]["pid"]
    since = len(agent.events())
    agent.flip("b")
    assert agent.decision(since)["event"] == "deploy.succeeded"
    agent.wait_for("generation.retired", since, generation=1)
    assert agent.stop() == 0
    assert agent.processes() == []
    assert not list(agent.state_dir.glob("generation-*"))


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[pytest.mark.long] if fault in PATIENCE else []) for fault in FAILING]
)
def test_a_new_program_that_fails_leaves_all_as_it_was(tmp_path: Path, fault: str) -> None:
    with installed(tmp_path, **PATIENCE.get(fault, {})) as agent:
        fail_to_upgrade(agent, fault)


def fail_to_upgrade(agent: Agent, fault: str) -> None:
    """Upgrade to a version with this fault: nothing changes, and no request is lost."""
    before = agent.status()
    upload = Upload(agent)
    install(agent.directory, fault)
    outcome = agent.upgrade()
    assert outcome["event"] == "agent.upgrade_failed"
    assert FAILING[fault] in outcome["reason"]
    assert get(agent) == (200, "1")
    now = agent.wait_until(lambda: agent.status() if agent.status()["live"] else None, "something live")
    assert now["agent"]["pid"] == before["agent"]["pid"]
    assert [one["pid"] for one in now["generations"]] == [one["pid"] for one in before["generations"]]
    since = len(agent.events())
    agent.flip("b")
    assert agent.decision(since)["event"] == "deploy.succeeded"
    assert upload.finish() == (200, "1")
    retired = agent.wait_for("generation.retired", since, generation=1)
    assert (retired["exit_status"], retired["requests"]) == (0, 2)
    assert agent.stop() == 0
    assert agent.processes() == []


def test_a_program_that_ends_in_its_first_second_is_left_nothing(agent: Agent, tmp_path: Path) -> None:
    install(tmp_path, FIRST_SECONDS=60.0)
    agent.restart()
    agent.wait_for("generation.adopted")
    install(tmp_path, "exits_soon")
    since = len(agent.events())
    outcome = agent.upgrade()
    assert outcome["event"] == "agent.upgrade_failed"
    assert outcome["reason"] == "the new agent exited with status 3"
    assert agent.find("generation.adopted", since) is None
    assert get(agent) == (200, "1")


def test_a_bug_that_shows_while_it_serves_on_trial_gives_all_back(agent: Agent, tmp_path: Path) -> None:
    install(tmp_path, "has_a_bug_on_trial", TRIAL_SECONDS=5.0)
    outcome = agent.upgrade()
    assert outcome["reason"] == "the new agent exited with status 1"
    since = len(agent.events())
    agent.flip("b")
    assert agent.decision(since)["event"] == "deploy.succeeded"
    assert get(agent) == (200, "2")


def test_a_program_that_prints_much_before_it_is_ready_is_not_blocked(agent: Agent, tmp_path: Path) -> None:
    install(tmp_path, "writes_much")
    assert agent.upgrade()["event"] == "agent.upgraded"


@pytest.mark.parametrize("fails", [False, True])
def test_a_hangup_while_it_is_open_who_is_the_agent_deploys_in_the_end(
    agent: Agent, tmp_path: Path, fails: bool
) -> None:
    install(tmp_path, "exits_after_a_long_trial" if fails else "has_a_long_trial")
    assert agent.process is not None
    agent.process.send_signal(signal.SIGUSR2)
    agent.wait_for("generation.adopted")
    since = len(agent.events())
    agent.process.send_signal(signal.SIGHUP)
    outcome = agent.wait_for("agent.upgrade_failed" if fails else "agent.upgraded")
    if not fails:
        agent.follow(outcome["pid"])
    assert agent.decision(since, trigger="signal")["event"] == "deploy.succeeded"


def run_upgrade(agent: Agent) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rainbowd", "upgrade", "--config", str(agent.directory / "rainbowd.json")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


def test_the_command_waits_for_the_outcome_and_exits_with_it(agent: Agent, tmp_path: Path) -> None:
    before = agent.status()["agent"]["pid"]
    told = run_upgrade(agent)
    assert (told.returncode, told.stderr) == (0, "")
    upgraded = agent.wait_for("agent.upgraded")
    assert told.stdout == f"upgraded: rainbowd {upgraded['version']}, pid {upgraded['pid']}\n"
    assert upgraded["predecessor"]["pid"] == before
    agent.follow(upgraded["pid"])
    install(tmp_path, "cannot_import")
    told = run_upgrade(agent)
    assert told.returncode == 1
    assert "the old agent continues" in told.stderr
    assert "rainbowd.agent" in told.stderr
    assert agent.stop() == 0
    told = run_upgrade(agent)
    assert told.returncode == 3
    assert "no agent is running" in told.stderr


def test_a_broken_config_fails_the_upgrade_with_the_reason(agent: Agent) -> None:
    (agent.directory / "rainbowd.json").write_text("{")
    outcome = agent.upgrade()
    assert outcome["event"] == "agent.upgrade_failed"
    assert "rainbowd.json" in outcome["reason"]
    assert get(agent) == (200, "1")


def test_an_idle_connection_to_the_old_agent_gets_one_more_answer_from_what_is_live_then(agent: Agent) -> None:
    connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
    for _ in range(2):
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        assert response.getheader("Connection") != "close"
    agent.upgrade()
    since = len(agent.events())
    agent.flip("b")
    assert agent.decision(since)["event"] == "deploy.succeeded"
    agent.wait_for("generation.retired", since, generation=1)
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    assert (response.status, response.getheader("X-Generation")) == (200, "2")
    assert response.getheader("Connection") == "close"
    agent.upgraded[0].wait(PATIENCE_SECONDS)


def test_no_generation_is_stopped_while_the_old_agent_has_a_request_on_it(agent: Agent) -> None:
    upload = Upload(agent)
    agent.upgrade()
    since = len(agent.events())
    agent.touch()
    assert agent.decision(since)["event"] == "deploy.succeeded"
    agent.wait_until(lambda: draining(agent), "one request of the old")
    assert upload.finish() == (200, "1")
    agent.wait_for("generation.retired", since, generation=1)


def draining(agent: Agent) -> Event | None:
    """Return the generation that drains with one request in flight, if there is one."""
    found = (one for one in agent.status()["generations"] if (one["state"], one["in_flight"]) == ("draining", 1))
    return next(found, None)


def test_a_stop_of_the_new_agent_waits_for_what_the_old_one_has(agent: Agent) -> None:
    upload = Upload(agent)
    agent.upgrade()
    stopping = threading.Thread(target=agent.stop)
    stopping.start()
    agent.wait_until(lambda: agent.status() if agent.status()["agent"]["state"] == "stopping" else None, "the stop")
    assert upload.finish() == (200, "1")
    stopping.join()
    assert agent.processes() == []


def test_a_stop_during_an_upgrade_ends_everything(agent: Agent, tmp_path: Path) -> None:
    install(tmp_path, "is_slow_to_start")
    assert agent.process is not None
    agent.process.send_signal(signal.SIGUSR2)
    time.sleep(0.3)  # somewhere in it: every moment has to do
    assert agent.stop() == 0
    assert agent.processes() == []
    assert agent.find("agent.stopped")


def test_a_stop_while_the_new_agent_is_on_trial_finishes_requests_and_ends_everything(
    agent: Agent, tmp_path: Path
) -> None:
    install(tmp_path, "has_a_long_trial")
    upload = Upload(agent)
    old = agent.process
    assert old is not None
    old.send_signal(signal.SIGUSR2)
    agent.wait_for("generation.adopted")
    old.send_signal(signal.SIGTERM)
    upgraded = agent.wait_for("agent.upgraded")
    agent.follow(upgraded["pid"])
    assert upload.finish() == (200, "1")
    assert (old.wait(PATIENCE_SECONDS), agent.process and agent.process.wait(PATIENCE_SECONDS)) == (0, 0)
    assert agent.agents() == agent.processes() == []
    assert agent.find("agent.stopped")


def test_a_stop_while_a_failing_upgrade_is_taken_back_ends_everything(tmp_path: Path) -> None:
    with installed(tmp_path, **PATIENCE["is_never_ready"]) as agent:
        install(tmp_path, "is_never_ready")
        assert agent.process is not None
        agent.process.send_signal(signal.SIGUSR2)
        agent.wait_for("generation.adopted")
        assert agent.stop() == 0
        assert agent.processes() == []
        assert agent.find("generation.retired", generation=1)
        assert agent.find("agent.stopped")


def test_an_upgrade_listens_on_the_addresses_of_the_present_config(agent: Agent) -> None:
    kept, added, unix = agent.port, free_port(), agent.directory / "web"
    config = json.loads((agent.directory / "rainbowd.json").read_text())
    both = [f"127.0.0.1:{kept}", f"127.0.0.1:{added}", f"unix:{unix}"]
    (agent.directory / "rainbowd.json").write_text(json.dumps(config | {"listen": both}))
    assert agent.upgrade()["listen"] == both
    agent.port = added
    assert get(agent) == (200, "1")
    (agent.directory / "rainbowd.json").write_text(json.dumps(config | {"listen": both[1:]}))
    agent.upgrade()
    assert get(agent) == (200, "1")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(unix))
    for process in agent.upgraded:
        process.wait(PATIENCE_SECONDS)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", kept)).close()
    assert agent.stop() == 0
    assert not unix.exists()


def test_sockets_that_systemd_handed_over_stay_those_of_the_agent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, running(tmp_path, listener) as agent:
        agent.port = listener.getsockname()[1]
        for _ in range(2):
            assert agent.upgrade()["listen"] == [f"127.0.0.1:{agent.port}"]
            assert get(agent) == (200, "1")
        assert agent.process is not None
        environ = Path(f"/proc/{agent.process.pid}/environ").read_bytes()
        assert b"LISTEN_" not in environ
        agent.restart()  # as Restart=always does it, by the same listener
        assert get(agent) == (200, "1")
        assert agent.status()["agent"]["listen"] == [f"127.0.0.1:{agent.port}"]
        assert agent.stop() == 0
        socket.create_connection(listener.getsockname()).close()  # it is systemd's, and waits for the next start


def test_the_lock_is_never_free(agent: Agent) -> None:
    with looking(agent) as seen:
        before = agent.status()["agent"]["pid"]
        after = agent.upgrade()["pid"]
        agent.wait_until(lambda: {} if after in seen else None, "a look at the lock")
        agent.upgraded[0].wait(PATIENCE_SECONDS)
    assert seen == {before, after}


def test_what_is_sent_to_the_old_pid_reaches_the_new_agent(agent: Agent) -> None:
    upload = Upload(agent)
    agent.upgrade()
    since = len(agent.events())
    agent.upgraded[0].send_signal(signal.SIGHUP)
    assert agent.decision(since, trigger="signal")["event"] == "deploy.succeeded"
    assert upload.finish() == (200, "1")


def test_the_app_knows_nothing_of_an_upgrade(agent: Agent) -> None:
    agent.upgrade()
    since = len(agent.events())
    agent.touch()
    assert agent.decision(since)["event"] == "deploy.succeeded"
    live = next(one for one in agent.status()["generations"] if one["state"] == "live")
    assert b"RAINBOWD_UPGRADE" not in Path(f"/proc/{live['pid']}/environ").read_bytes()
    assert agent.process is not None
    assert sockets(live["pid"])
    assert not sockets(live["pid"]) & sockets(agent.process.pid)


def sockets(pid: int) -> set[str]:
    """Return the inodes of the sockets that a process has open.

    A descriptor may be closed between the listing and the reading of its link.
    """
    names = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.add(str(descriptor.readlink()))
    return {name for name in names if name.startswith("socket:")}
