"""Bake and canary of a real agent under load."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from rainbowd.cli import follow
from rainbowd.cli.deploy import WaitOptions
from rainbowd.cli.deploy import deploy as request_deploy
from rainbowd.cli.follow import AgentGone
from tests.live.agent import command, free_port, running
from tests.live.api import Caller, enabled
from tests.live.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.agent import Agent

pytestmark = pytest.mark.live

PER_SECOND = 100


def deploy(agent: Agent, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("deploy", "--config", str(agent.directory / "rainbowd.json"), *words),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def test_a_release_that_fails_a_fifth_of_its_requests_is_rolled_back_within_seconds(tmp_path: Path) -> None:
    with running(tmp_path, bake=30) as agent:
        agent.add_release("bad", fail_every=5)
        with Load(agent, PER_SECOND).running() as load:
            time.sleep(3)
            began = time.time()
            run = deploy(agent, "bad")
            time.sleep(1)
        assert run.returncode == 1
        failed = agent.wait_for("deploy.failed")
        assert failed["rolled_back_to"] == 1
        assert "before the switch), most of them GET /: 500" in failed["reason"]
        assert failed["reason"] in run.stderr
        fifth = sorted(one.at for one in load.failed(began))[4]
        assert seconds(failed["at"]) - fifth < 15, "half of the bake, also on a busy machine"
        assert str(agent.link.readlink()) == "releases/a"
        assert load.lost() == []
        assert load.got[-1].release == "a"
        assert [event["generation"] for event in agent.events() if event["event"] == "generation.launched"] == [1, 2]


def test_a_canary_that_fails_costs_less_than_two_percent_of_the_requests(tmp_path: Path) -> None:
    with running(tmp_path, canary={"steps": [5], "seconds": 60}) as agent:
        agent.add_release("bad", fail_every=5)
        with Load(agent, PER_SECOND).running() as load:
            time.sleep(1)
            began = time.time()
            assert deploy(agent, "bad").returncode == 1
            ended = time.time()
            time.sleep(1)
        assert "the canary failed after" in agent.wait_for("deploy.failed")["reason"]
        during = [one for one in load.got if began <= one.at <= ended]
        assert len(load.failed()) < 0.02 * len(during)
        assert load.lost() == []
        assert agent.find("generation.live", generation=2) is None
        assert load.got[-1].release == "a"


def test_a_client_sees_one_version_until_the_switch(tmp_path: Path) -> None:
    with running(tmp_path, canary={"steps": [10, 50], "seconds": 3}) as agent:
        with Load(agent, PER_SECOND).running() as load:
            assert deploy(agent, "b").returncode == 0
        live_at = seconds(agent.wait_for("generation.live", generation=2)["at"])
        steps = [seconds(event["at"]) for event in agent.events() if event["event"] == "generation.canary"]
        for client in {one.client for one in load.got}:
            seen = [one.release for one in load.got if one.client == client and steps[0] < one.at < live_at]
            assert seen == sorted(seen, key=str), "a step moved a client back"
        shares = {one.client for one in load.got if one.release == "b" and one.at < live_at - 0.1}
        assert 0 < len(shares) < 200
        assert load.lost() == []


@contextlib.contextmanager
def requested(agent: Agent, api: Caller, trigger: str) -> Iterator[None]:
    """Request a deploy of a release that answers every request to ``/`` with 500; a command checks its outcome."""
    if trigger == "symlink":
        agent.flip("bad")
    elif trigger == "api":
        assert api.call("POST", "/redeploy", {"release": "bad"}).status == 202
    elif trigger in {"touch", "signal"}:
        (agent.link / "app.json").write_text(json.dumps({"fail_every": 1, "release": "a"}))
        agent.touch() if trigger == "touch" else agent.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    if trigger != "command":
        yield
        return
    words = command("deploy", "--config", str(agent.directory / "rainbowd.json"), "bad")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        yield
        _, complaint = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "rolled back after" in complaint


BAKES = int(os.environ.get("BAKES", "3"))
TRIGGERS = ["symlink", "touch", "signal", "command", "api"]
ACROSS = [
    pytest.param(trigger, end, marks=[pytest.mark.long] if trigger != "command" and end else [])
    for trigger in TRIGGERS
    for end in (None, "upgrade", "kill")
]


@pytest.mark.parametrize(("trigger", "end"), ACROSS)
def test_every_kind_of_trigger_is_watched_also_by_the_next_agent(tmp_path: Path, trigger: str, end: str | None) -> None:
    port = free_port()
    with running(tmp_path, bake={"seconds": 60, "min_errors": 3}, **enabled(port)) as agent:
        agent.add_release("bad", fail_every=1)
        api, since = Caller(agent, port), len(agent.events())
        api.until_it_listens()
        with requested(agent, api, trigger):
            agent.wait_for("generation.live", since, generation=2)
            agent.wait_until(lambda: {} if _baking(agent) else None, "the bake")
            if end == "upgrade":
                assert agent.upgrade()["event"] == "agent.upgraded"
            elif end == "kill":
                agent.restart()
                agent.wait_for("agent.started", since)
            with Load(agent, 20).running():
                failed = agent.wait_for("deploy.failed", since)
        assert failed["rolled_back_to"] == 1
        expected = "releases/bad" if trigger == "symlink" else "releases/a"
        agent.wait_until(lambda: {} if str(agent.link.readlink()) == expected else None, "the link")
        if trigger in {"command", "api"}:
            agent.wait_for("link.restored", since)
        agent.wait_until(lambda: {} if agent.status()["live"] == 1 else None, "the previous generation")
        launched = [event["generation"] for event in agent.events() if event["event"] == "generation.launched"]
        assert launched == [1, 2]


def test_a_command_leaves_the_link_if_no_agent_comes_that_could_continue_the_bake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "BAKING_GONE_SECONDS", 2.0)
    with running(tmp_path, bake=300) as agent, ThreadPoolExecutor(1) as threads:
        config, wait = agent.directory / "rainbowd.json", WaitOptions(is_wanted=True, timeout_seconds=None)
        waiting = threads.submit(request_deploy, config, str(agent.directory / "releases" / "b"), None, wait)
        agent.wait_for("generation.live", generation=2)
        agent.wait_until(lambda: {} if _baking(agent) else None, "the bake")
        agent.kill()
        with pytest.raises(AgentGone, match="the agent exited during the bake, which the next one continues"):
            waiting.result(60)
        assert str(agent.link.readlink()) == "releases/b"
        agent.start()
        agent.wait_until(lambda: {} if _baking(agent) else None, "the bake, continued")
        assert [event["generation"] for event in agent.events() if event["event"] == "generation.launched"] == [1, 2]


def test_an_upgrade_waits_for_the_end_of_a_canary_and_names_the_deploy(tmp_path: Path) -> None:
    with running(tmp_path, canary={"steps": [50], "seconds": 600}) as agent:
        agent.flip("b")
        agent.wait_for("generation.canary", generation=2)
        words = command("upgrade", "--config", str(agent.directory / "rainbowd.json"))
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as upgrade:
            assert upgrade.stdout is not None
            line = upgrade.stdout.readline()
            assert line.startswith("waiting for the end of a deploy: deploying b: canary, "), line
            assert "of 600 s, 50 % of the clients: 0 requests, 0 failed" in line
            assert "the upgrade waits until no deploy, launch or stop is in progress" in agent.output()
            agent.flip("a")
            agent.follow(agent.wait_for("agent.upgraded")["pid"])
            assert upgrade.wait(60) == 0
        assert agent.status()["live"] == 1


def test_an_api_call_that_waits_is_told_that_the_next_agent_continues(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, bake=60, **enabled(port)) as agent, ThreadPoolExecutor(1) as threads:
        api = Caller(agent, port)
        api.until_it_listens()
        waiting = threads.submit(api.deploy, {"release": "b"})
        agent.wait_until(lambda: {} if _baking(agent) else None, "the bake")
        assert agent.upgrade()["event"] == "agent.upgraded"
        answer = waiting.result(30)
        assert answer.status == 503
        assert "the next one continues deploy" in answer.told["detail"]
        agent.wait_until(lambda: {} if _baking(agent) else None, "the bake")


def _baking(agent: Agent) -> dict[str, Any] | None:
    generations = agent.status()["generations"]
    return next((one["bake"] for one in generations if "bake" in one), None)


@pytest.mark.long
def test_healthy_releases_pass_bakes_in_a_row_with_errors_that_were_there_before(tmp_path: Path) -> None:
    with running(tmp_path, bake=4) as agent:
        for number in range(BAKES + 1):
            agent.add_release(f"v{number}", fail_every=60)
        with Load(agent, PER_SECOND).running() as load:
            assert deploy(agent, "v0").returncode == 0
            for number in range(1, BAKES + 1):
                assert deploy(agent, f"v{number}").returncode == 0, agent.events()[-1]
        assert load.lost() == []
        assert load.failed()


def test_the_status_over_http_is_what_the_file_says(tmp_path: Path) -> None:
    with running(tmp_path, bake=30) as agent:
        agent.flip("b")
        agent.wait_for("generation.live", generation=2)
        agent.wait_until(lambda: {} if _baking(agent) else None, "the bake")
        urllib.request.urlopen(f"http://{agent.host}:{agent.port}/", timeout=10).read()
        agent.wait_until(lambda: {} if _baking(agent)["requests"] == 1 else None, "a request")  # type: ignore[index]
