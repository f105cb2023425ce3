"""An upgrade replaces the files of a running agent: by then it has loaded all that it may ever need."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import free_port, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.agent import Agent, Event

pytestmark = pytest.mark.live

TELL = """
import os, sys
def tell(event, args):
    if event == "import":
        os.write(told, b"%d %s\\n" % (os.getpid(), args[0].encode()))
    if event == "socket.connect":
        os.write(told, b"%d to:%s\\n" % (os.getpid(), repr(args[1]).replace(" ", "").encode()))
if "rainbowd" in sys.orig_argv:
    told = os.open(os.environ["LOADED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    sys.addaudithook(tell)
"""
"""Names every module that an agent looks for, and every address that it connects to: sys.addaudithook()."""

HOOKS = {"before_launch": "echo before", "after_live": "echo after", "after_failure": "echo failed"}


def test_an_agent_that_runs_loads_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    monkeypatch.setenv("LOADED", str(told))
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "sitecustomize.py").write_text(TELL)
    with running(tmp_path, hooks=HOOKS, standby=0.5) as agent:
        assert agent.process is not None
        agent.wait_until(lambda: {} if "ready" in agent.output() else None, "its first words, which are loaded last")
        at_start = len(told.read_text())
        agent.add_release("bad", exit_status=3)
        for name, result in ("b", "succeeded"), ("bad", "failed"):
            since = len(agent.events())
            agent.flip(name)
            assert agent.decision(since)["event"] == f"deploy.{result}"
        (agent.directory / "rainbowd.json").write_text('{"run": 7, "helth": 1}')
        since = len(agent.events())
        agent.touch()
        assert agent.decision(since)["event"] == "deploy.failed"
        assert agent.upgrade()["event"] == "agent.upgrade_failed"
        agent.configure()
        os.kill(agent.wait_until(lambda: live(agent), "what is live")["pid"], signal.SIGKILL)
        agent.wait_for("generation.launched", relaunch=True)
        agent.wait_until(lambda: live(agent), "what is live again")
        assert agent.stop() == 0
        later = [line.split() for line in told.read_text()[at_start:].splitlines()]
        names = {name for pid, name in later if int(pid) == agent.process.pid and not name.startswith("to:")}
        assert {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names} == set()


@pytest.mark.parametrize("has_fleet", [False, True])
def test_only_an_agent_with_a_fleet_loads_and_asks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_fleet: bool
) -> None:
    told, port = tmp_path / "told", free_port()
    monkeypatch.setenv("LOADED", str(told))
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "sitecustomize.py").write_text(TELL)
    fleet = {"name": "shop", "endpoints": [f"http://127.0.0.1:{port}"]}
    with running(tmp_path, **({"fleet": fleet} if has_fleet else {})) as agent:
        assert agent.process is not None
        since = len(agent.events())
        agent.flip("b")
        assert agent.decision(since)["event"] == "deploy.succeeded"
        if has_fleet:
            agent.wait_for("fleet.engine_away")
        pid, apps = str(agent.process.pid), {event["address"] for event in agent.events() if "address" in event}
        assert agent.stop() == 0
    own = [name for found, name in (line.split(" ", 1) for line in told.read_text().splitlines()) if found == pid]
    assert "trio" in own
    parts = {name for name in own if name.startswith(("rainbowd.fleet", "rainbowd.agent.fleet_deploys"))}
    addresses = {":".join(re.findall(r"[\d.]+", name)) for name in own if name.startswith("to:('")}
    assert addresses >= apps
    assert (parts != set(), addresses - apps) == (has_fleet, {f"127.0.0.1:{port}"} if has_fleet else set())


def live(agent: Agent) -> Event | None:
    status = agent.status()
    return next((one for one in status["generations"] if one["id"] == status["live"]), None)
