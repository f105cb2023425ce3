"""Bake and canary of a real agent under load."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.agent import command, running
from tests.live.load import Load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.agent import Agent

pytestmark = pytest.mark.live

PER_SECOND = 100
TOKEN = "0123456789abcdef0123"


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
        assert seconds(failed["at"]) - fifth < 3
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


@pytest.mark.parametrize("way", ["symlink", "touch", "signal", "api"])
def test_every_kind_of_trigger_is_watched(tmp_path: Path, way: str) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    api = {"enabled": True, "listen": f"unix:{tmp_path}/api", "token_file": str(token)}
    with running(tmp_path, bake={"seconds": 20, "min_errors": 3}, api=api) as agent:
        agent.add_release("bad", fail_every=1)
        since = len(agent.events())
        if way == "symlink":
            agent.flip("bad")
        elif way == "api":
            fields = ["-H", f"Authorization: Bearer {TOKEN}", "-H", "Content-Type: application/json"]
            call = ["curl", "-sS", "--unix-socket", f"{tmp_path}/api", *fields, "-d", '{"release": "bad"}']
            subprocess.run([*call, "http://x/redeploy"], check=True, capture_output=True)
        else:
            (agent.link / "app.json").write_text(json.dumps({"fail_every": 1, "release": "a"}))
            agent.touch() if way == "touch" else agent.process.send_signal(1)  # type: ignore[union-attr]
        agent.wait_for("generation.live", since, generation=2)
        with Load(agent, 20).running():
            failed = agent.wait_for("deploy.failed", since)
        assert failed["rolled_back_to"] == 1
        assert agent.status()["live"] == 1
        expected = {"symlink": "releases/bad", "api": "releases/a"}.get(way, "releases/a")
        agent.wait_until(lambda: {} if str(agent.link.readlink()) == expected else None, "the link")


@pytest.mark.parametrize("way", ["upgrade", "kill"])
def test_a_bake_goes_on_across_an_upgrade_and_a_kill_of_the_agent(tmp_path: Path, way: str) -> None:
    with running(tmp_path, bake={"seconds": 60, "min_errors": 3}) as agent:
        agent.add_release("bad", fail_every=2)
        since = len(agent.events())
        agent.flip("bad")
        agent.wait_for("generation.live", since, generation=2)
        time.sleep(0.5)
        if way == "upgrade":
            assert agent.upgrade()["event"] == "agent.upgraded"
        else:
            agent.restart()
        agent.wait_until(lambda: {} if _baking(agent) else None, "the bake")
        with Load(agent, 20).running():
            failed = agent.wait_for("deploy.failed", since)
        assert failed["rolled_back_to"] == 1
        assert agent.status()["live"] == 1


def _baking(agent: Agent) -> dict[str, Any] | None:
    generations = agent.status()["generations"]
    return next((one["bake"] for one in generations if "bake" in one), None)


@pytest.mark.long
def test_healthy_releases_pass_ten_bakes_in_a_row_with_errors_that_were_there_before(tmp_path: Path) -> None:
    with running(tmp_path, bake=4) as agent:
        for number in range(11):
            agent.add_release(f"v{number}", fail_every=60)
        with Load(agent, PER_SECOND).running() as load:
            assert deploy(agent, "v0").returncode == 0
            for number in range(1, 11):
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
