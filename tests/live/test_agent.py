from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.live import holding
from tests.live.agent import ROOT, Agent, running
from tests.live.installed import Upload
from tests.story import problems

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live


def start_another(agent: Agent, *options: str) -> subprocess.CompletedProcess[str]:
    """Start one more agent with the same config file, and return its outcome."""
    config = str(agent.directory / "rainbowd.json")
    command = [sys.executable, "-m", "rainbowd", "--config", config, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_agent_with_nothing_left(tmp_path: Path, signum: signal.Signals) -> None:
    with running(tmp_path) as agent:
        assert agent.stop(signum) == 0
        assert agent.processes() == []
        assert [event["event"] for event in agent.events()][-2:] == ["generation.retired", "agent.stopped"]
        assert sorted(entry.name for entry in agent.state_dir.iterdir()) == [
            "deploys.json",
            "generation",
            "journal.jsonl",
            "lock",
            "status.json",
            "status.json.second",
            "status.json.spare",
        ]


def test_a_stop_finishes_requests_in_flight_and_announces_the_close(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        upload = Upload(agent)
        stopped: list[int] = []
        stop = threading.Thread(target=lambda: stopped.append(agent.stop()))
        stop.start()
        agent.wait_until(lambda: agent.status() if agent.status()["agent"]["state"] == "stopping" else None, "the stop")
        assert upload.finish() == (200, "1")
        assert upload.connection_field == "close"
        stop.join()
        assert stopped == [0]


def test_a_second_signal_does_not_wait_for_requests_nor_for_an_app_that_ignores_its_own(tmp_path: Path) -> None:
    with running(tmp_path, drain={"stop": 600, "kill_after": 600}) as agent:
        agent.add_release("deaf", ignore_term=True)
        since = len(agent.events())
        agent.flip("deaf")
        agent.decision(since)
        connection = socket.create_connection((agent.host, agent.port))
        connection.sendall(b"GET /slow?ms=600000 HTTP/1.1\r\nHost: x\r\n\r\n")
        agent.wait_until(
            lambda: agent.status() if agent.status()["generations"][-1]["in_flight"] else None, "the request"
        )
        assert agent.process is not None
        agent.process.send_signal(signal.SIGTERM)
        agent.wait_until(lambda: agent.status() if agent.status()["agent"]["state"] == "stopping" else None, "the stop")
        assert agent.stop() == 0
        assert agent.processes() == []
        connection.close()


@pytest.mark.parametrize("pause_seconds", [0.0, 0.03, 0.1, 0.2])
def test_a_second_signal_at_any_moment_of_the_end_is_no_other_end(tmp_path: Path, pause_seconds: float) -> None:
    with running(tmp_path) as agent:
        assert agent.process is not None
        agent.process.send_signal(signal.SIGTERM)
        time.sleep(pause_seconds)
        assert agent.stop() == 0
        assert agent.processes() == []


def test_a_stop_ends_a_starting_candidate_too_and_the_journal_has_interrupted(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        agent.add_release("slow", boot_seconds=60)
        since = len(agent.events())
        agent.flip("slow")
        agent.wait_for("generation.launched", since)
        assert agent.stop() == 0
        assert agent.processes() == []
        failed = agent.find("deploy.failed", since)
        assert failed is not None
        assert failed["reason"].startswith("interrupted")


@pytest.mark.parametrize("step", ["generation.draining", "deploy.waiting"])
def test_a_stop_while_one_drains_or_a_deploy_waits_for_it_ends_both(tmp_path: Path, step: str) -> None:
    with running(tmp_path, max_generations=2, drain={"timeout": 600, "stop": 0.5, "kill_after": 1}) as agent:
        connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
        connection.request("GET", "/slow?ms=600000")
        agent.wait_until(
            lambda: agent.status() if agent.status()["generations"][0]["in_flight"] else None, "the request"
        )
        since = len(agent.events())
        agent.flip("b")
        agent.wait_for("generation.draining", since)
        if step == "deploy.waiting":
            agent.touch()
            agent.wait_for(step, since)
        assert agent.stop() == 0
        assert connection.getresponse().status == 504
        connection.close()
        assert agent.processes() == []
        assert problems(agent.events()) == []


def test_hup_deploys(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        since = len(agent.events())
        assert agent.process is not None
        agent.process.send_signal(signal.SIGHUP)
        assert agent.decision(since, trigger="signal")["event"] == "deploy.succeeded"


def test_a_second_agent_on_the_same_state_directory_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        assert agent.process is not None
        outcome = start_another(agent, "--listen", "127.0.0.1:0")
        assert outcome.returncode == 2
        assert f"another agent (pid {agent.process.pid}) is running" in outcome.stderr
        assert outcome.stderr.count("\n") == 1


def test_an_address_in_use_is_refused_and_nothing_is_started(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    agent.add_release("a")
    agent.flip("a")
    with socket.create_server((agent.host, agent.port)):
        outcome = start_another(agent)
    assert outcome.returncode == 2
    assert outcome.stderr == (
        f"rainbowd: listen: cannot listen on {agent.host}:{agent.port}: another program listens there already; "
        "use --listen for another address\n"
    )
    assert agent.processes() == []
    assert agent.events() == []


def test_a_state_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    agent = Agent(tmp_path, state_dir="taken")
    (tmp_path / "taken").write_text("")
    outcome = start_another(agent)
    assert outcome.returncode == 2
    assert "state_dir" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_reader_of_the_log_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    agent.add_release("a")
    agent.flip("a")
    command = [sys.executable, "-m", "rainbowd", "--config", str(tmp_path / "rainbowd.json")]
    agent.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert agent.process.stdout is not None
        agent.process.stdout.close()
        since = len(agent.events())
        agent.output_file.touch()
        agent.wait_for("deploy.succeeded")
        agent.touch()
        assert agent.decision(since, trigger="file")["event"] == "deploy.succeeded"
        assert agent.stop() == 0
    finally:
        agent.destroy()


def test_sockets_handed_over_by_systemd_take_the_place_of_listen(tmp_path: Path) -> None:
    agent = Agent(tmp_path, listen="127.0.0.1:1")
    agent.add_release("a")
    agent.flip("a")
    launcher = (
        "import os, socket, sys\n"
        "sock = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
        "sock.fileno() == 3 or os.dup2(sock.fileno(), 3)\n"
        "os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'rainbowd', '--config', sys.argv[3]])\n"
    )
    arguments = [agent.host, str(agent.port), str(tmp_path / "rainbowd.json")]
    with agent.output_file.open("ab") as output:
        agent.process = subprocess.Popen([sys.executable, "-c", launcher, *arguments], cwd=ROOT, stdout=output)
    try:
        agent.wait_for("deploy.succeeded")
        connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        assert agent.stop() == 0
    finally:
        agent.destroy()


@pytest.mark.long
def test_after_many_deploys_the_agent_holds_no_more_than_after_a_few(tmp_path: Path) -> None:
    agent = holding.counted_agent(tmp_path)
    try:
        few = holding.deploy(agent, 3)
        many = holding.deploy(agent, 9, like=few)
        assert many.grown_beyond(few) == []
        assert agent.zombies() == []
        assert agent.stop() == 0
        assert agent.processes() == []
    finally:
        agent.destroy()


def test_a_bug_in_any_task_ends_the_agent_with_every_child_reaped(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    agent.add_release("a")
    agent.flip("a")
    with_bug = (
        "import sys, trio\n"
        "from pathlib import Path\n"
        "from rainbowd.agent import agent\n"
        "from rainbowd.cli import main\n"
        "journal = Path(sys.argv[2])\n"
        "async def break_down():\n"
        "    while not journal.exists() or 'deploy.succeeded' not in journal.read_text():\n"
        "        await trio.sleep(0.05)\n"
        "    raise ZeroDivisionError('a bug')\n"
        "agent.reap_repeatedly = break_down\n"
        "sys.exit(main(['--config', sys.argv[1]]))\n"
    )
    with agent.output_file.open("ab") as output:
        journal = agent.state_dir / "journal.jsonl"
        command = [sys.executable, "-c", with_bug, str(tmp_path / "rainbowd.json"), str(journal)]
        agent.process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        assert agent.process.wait(30) == 1
        assert "ZeroDivisionError: a bug" in agent.output(100)
        assert agent.find("deploy.succeeded")
        assert agent.processes() == []
        assert [event["event"] for event in agent.events()][-2:] == ["generation.retired", "agent.stopped"]
    finally:
        agent.destroy()
