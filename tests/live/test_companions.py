"""Companion processes of a real agent: through deploys, a crash, an upgrade, a kill and a stop."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rainbowd.deploy.process import read_entry
from tests.live.agent import ROOT, Agent, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.live

PROCESSES = {
    "worker": {"run": ["sh", "-c", "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.05; done"], "instances": 2},
    "beat": {"run": "trap 'sleep 0.5; exit 0' TERM; while :; do sleep 0.05; done", "overlap": False},
}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path, processes=PROCESSES)
    for name in ("v1", "v2"):
        agent.add_release(name)
    agent.flip("v1")
    agent.start()
    try:
        assert agent.decision(0)["event"] == "deploy.succeeded"
        yield agent
    finally:
        agent.destroy()


def wait_until(agent: Agent, look: Callable[[], bool], what: str) -> None:
    agent.wait_until(lambda: {"event": what} if look() else None, what)


def processes(agent: Agent) -> dict[str, dict[str, Any]]:
    """Return the live generation's processes once all of them run."""
    found: dict[str, dict[str, Any]] = {}

    def all_run() -> bool:
        status = agent.status()
        live = next((one for one in status["generations"] if one["id"] == status["live"]), None)
        found.clear()
        found.update({f"{one['name']}.{one['instance']}": one for one in (live or {}).get("processes", [])})
        return len(found) == 3 and all(one["pid"] for one in found.values())

    wait_until(agent, all_run, "all companion processes run")
    return found


def pids(agent: Agent) -> dict[str, int]:
    return {name: one["pid"] for name, one in processes(agent).items()}


def runs(pid: int) -> bool:
    """Return whether a process runs; an orphan of a killed agent may stay a zombie for a while."""
    entry = read_entry(pid)
    return entry is not None and not entry.ended


def test_a_deploy_replaces_them_and_a_stop_leaves_none(agent: Agent) -> None:
    before = pids(agent)
    since = len(agent.events())
    agent.flip("v2")
    assert agent.decision(since)["event"] == "deploy.succeeded"
    retired = agent.wait_for("generation.retired", since)
    after = pids(agent)
    assert not set(before.values()) & set(after.values())
    assert not any(runs(pid) for pid in before.values())
    agent.wait_for("process.started", since, process="beat")  # the journal is written after the status
    beats = [event for event in agent.events() if event.get("process") == "beat"]
    assert [event["event"] for event in beats] == ["process.started", "process.exited", "process.started"]
    exited = [event for event in agent.events() if event["event"] == "process.exited"]
    assert max(event["at"] for event in exited) <= retired["at"]
    assert agent.stop() == 0
    assert not any(runs(pid) for pid in after.values())
    assert sorted(path.name for path in agent.state_dir.glob("generation-*")) == []


def test_a_crash_of_the_app_does_not_touch_them(agent: Agent) -> None:
    before = pids(agent)
    status = agent.status()
    os.kill(status["generations"][0]["pid"], signal.SIGKILL)
    wait_until(agent, lambda: agent.status()["live"] not in {None, status["live"]}, "the app is launched again")
    assert pids(agent) == before


def test_one_that_dies_is_started_again(agent: Agent) -> None:
    before = pids(agent)
    os.kill(before["worker.1"], signal.SIGKILL)
    wait_until(agent, lambda: processes(agent)["worker.1"]["restarts"] == 1, "it is started again")
    after = pids(agent)
    assert after["worker.1"] != before.pop("worker.1")
    assert {name: after[name] for name in before} == before


def test_an_upgrade_and_a_kill_of_the_agent_do_not_touch_them(agent: Agent) -> None:
    before = pids(agent)
    agent.upgrade()
    assert pids(agent) == before
    agent.wait_for("generation.adopted", agent.restart())
    assert pids(agent) == before
    since = len(agent.events())
    agent.flip("v2")
    assert agent.decision(since)["event"] == "deploy.succeeded"
    wait_until(agent, lambda: not any(runs(pid) for pid in before.values()), "the old ones have ended")


def start(agent: Agent, *arguments: str) -> subprocess.Popen[str]:
    config = ["--config", str(agent.directory / "rainbowd.json")]
    words = command(arguments[0], *config, *arguments[1:])
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rainbowd(agent: Agent, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(agent, *arguments)
    output, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def test_one_kind_is_restarted_by_a_command(agent: Agent) -> None:
    before = pids(agent)
    done = rainbowd(agent, "restart", "worker", "--timeout", "30")
    assert done.returncode == 0, done.stderr
    after = pids(agent)
    assert done.stdout.startswith("restarted worker: pid ")
    assert after["beat.1"] == before["beat.1"]
    assert not {after["worker.1"], after["worker.2"]} & set(before.values())
    unknown = rainbowd(agent, "restart", "mailer")
    assert unknown.returncode == 2
    assert "no companion process 'mailer'; the live generation has: beat, worker" in unknown.stderr


def test_a_restart_of_one_that_cannot_be_started_fails_with_the_reason(tmp_path: Path) -> None:
    agent = Agent(tmp_path, processes={"mailer": {"run": ["no-such-command"]}})
    agent.add_release("v1")
    agent.flip("v1")
    agent.start()
    try:
        assert agent.decision(0)["event"] == "deploy.succeeded"
        done = rainbowd(agent, "restart", "mailer")
    finally:
        agent.destroy()
    assert done.returncode == 1
    assert "cannot restart mailer: processes.mailer.run: command not found: no-such-command" in done.stderr


@pytest.mark.parametrize("is_upgrade", [True, False], ids=["upgrade", "kill"])
def test_the_next_agent_adopts_everything_although_the_state_directory_was_removed_before(
    agent: Agent, *, is_upgrade: bool
) -> None:
    before, app = pids(agent), agent.status()["generations"][0]["pid"]
    moved = agent.directory / "removed"
    agent.state_dir.rename(moved)
    wait_until(
        agent, lambda: len(list(agent.state_dir.glob("generation-*.json"))) == 4, "all records are written again"
    )
    shutil.rmtree(moved)
    if is_upgrade:
        assert agent.upgrade()["event"] == "agent.upgraded"
    else:
        agent.wait_for("generation.adopted", agent.restart())
    assert pids(agent) == before
    assert [one["pid"] for one in agent.status()["generations"]] == [app]
    assert agent.stop() == 0
    assert not any(runs(pid) for pid in (app, *before.values()))


def events_since(agent: Agent, since: int, *names: str) -> list[str]:
    return [event["event"] for event in agent.events()[since:] if event["event"] in names]


@pytest.mark.parametrize("is_touched_first", [True, False])
def test_a_touch_and_a_restart_in_the_same_instant_both_happen(agent: Agent, is_touched_first: bool) -> None:
    before, since = pids(agent), len(agent.events())
    file = agent.trigger_file.with_name(f"{agent.trigger_file.name}.restart")

    def request() -> None:
        new = file.with_name("new")
        new.write_text(json.dumps({"request": "mine", "restart": "worker"}))
        new.rename(file)

    for act in (agent.touch, request) if is_touched_first else (request, agent.touch):
        act()
    assert agent.wait_for("process.restarting", since)["request"] == "mine"
    assert agent.decision(since)["event"] == "deploy.succeeded"
    wait_until(agent, lambda: not any(runs(pid) for pid in before.values()), "the old ones have ended")
    assert events_since(agent, since, "deploy.requested", "process.restarting").count("deploy.requested") == 1


def test_restarts_that_are_requested_in_the_same_instant_all_happen(agent: Agent) -> None:
    before = pids(agent)
    commands = [start(agent, "restart", name, "--timeout", "30") for name in ("worker", "beat", "worker")]
    for process in commands:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert not set(before.values()) & set(pids(agent).values())


def test_a_restart_works_while_the_app_crashes(agent: Agent) -> None:
    before = pids(agent)
    (agent.directory / "releases" / "v1" / "app.json").write_text(json.dumps({"exit_status": 1}))
    os.kill(agent.status()["generations"][0]["pid"], signal.SIGKILL)
    wait_until(agent, lambda: agent.status()["live"] is None, "nothing is live")
    wait_until(agent, lambda: agent.status()["kept"] is not None, "the processes are listed without their app")
    assert {f"{one['name']}.{one['instance']}": one["pid"] for one in agent.status()["kept"]["processes"]} == before
    assert "whose app has ended:" in rainbowd(agent, "status").stdout
    done = rainbowd(agent, "restart", "worker", "--timeout", "30")
    assert done.returncode == 0, done.stderr
    wait_until(agent, lambda: not runs(before["worker.1"]) and not runs(before["worker.2"]), "the workers have ended")
    assert runs(before["beat.1"])
    unknown = rainbowd(agent, "restart", "mailer", "--timeout", "30")
    assert unknown.returncode == 2
    assert "no companion process 'mailer' runs" in unknown.stderr


def beats(agent: Agent) -> set[bytes]:
    """Return the launches of the scheduler that run now, each by its pidfile."""
    found: set[bytes] = set()
    for pid in agent.processes():
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if b"RAINBOWD_PROCESS=beat" in variables:
                found |= {one for one in variables if one.startswith(b"PIDFILE=")}
    return found


@pytest.mark.parametrize("damage", ["removed", "of another boot"])
def test_a_scheduler_whose_record_is_of_no_use_is_ended_before_the_next_one_starts(agent: Agent, damage: str) -> None:
    before = pids(agent)
    agent.kill()
    for record in agent.state_dir.glob("generation-*-beat*.json"):
        if damage == "removed":
            record.unlink()
        else:
            fields = json.loads(record.read_text())
            fields["identity"]["boot_id"] = "00000000-0000-0000-0000-000000000000"
            record.write_text(json.dumps(fields) + "\n")
    most = len(beats(agent))
    assert most == 1
    since = len(agent.events())
    agent.start()

    def is_replaced() -> bool:
        nonlocal most
        most = max(most, len(beats(agent)))
        return agent.find("process.started", since, process="beat") is not None

    wait_until(agent, is_replaced, "another scheduler is started")
    assert most == 1
    assert not runs(before["beat.1"])
