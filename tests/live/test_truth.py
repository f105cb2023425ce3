"""What the files say of deploys, on a real agent: while they run, after they were decided, and after a rollback."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.agent import Agent, free_port, running
from tests.live.api import Caller, enabled
from tests.live.test_commands import end, run, start

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

HOOK = (
    'echo "builds $(basename "$RAINBOWD_RELEASE") [$RAINBOWD_ROLLBACK]" | tee -a ../../built; '
    "until test -e ../../go; do sleep 0.02; done"
)


def history(agent: Agent) -> Any:
    status, out, _ = run(agent, "history", "--json")
    assert status == 0
    return json.loads(out)


def test_a_failed_deploy_is_one_row_with_its_output_and_a_rollback_is_called_that(tmp_path: Path) -> None:
    with running(tmp_path, drain={"kill_after": 2}) as agent:
        agent.add_release("bad", exit_status=3, output=["no such table"])
        assert run(agent, "deploy", "b")[0] == 0
        assert run(agent, "deploy", "bad")[0] == 1
        agent.wait_for("link.restored")
        failed, *before = history(agent)
        assert (failed["result"], failed["release"]) == ("failed", str(tmp_path / "releases" / "bad"))
        assert "no such table" in failed["output"][-1]
        assert [entry["result"] for entry in before] == ["succeeded", "succeeded"]
        assert run(agent, "rollback")[0] == 0
        back = history(agent)[0]
        assert (back["release"], back["rollback"], back["result"]) == (
            str(tmp_path / "releases" / "a"),
            True,
            "succeeded",
        )


def test_a_rollback_to_what_is_live_clears_the_failure(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        agent.add_release("bad", exit_status=3)
        since = len(agent.events())
        agent.flip("bad")
        assert agent.decision(since)["event"] == "deploy.failed"
        assert agent.status()["last_deploy"]["result"] == "failed"
        assert [warning["kind"] for warning in agent.status()["warnings"]] == ["other"]
        assert run(agent, "rollback")[0] == 0
        assert (agent.status()["last_deploy"]["result"], agent.status()["warnings"]) == ("rolled_back", [])


def test_a_hook_is_shown_while_it_runs_and_not_run_again_for_a_rollback(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.touch()
    with running(tmp_path, hooks={"before_launch": HOOK}) as agent:
        go.unlink()
        command = start(agent, "deploy", "b")

        def shown() -> dict[str, object] | None:
            found: dict[str, Any] | None = agent.status()["deploying"]
            return found if found is not None and found["output"] else None

        found = agent.wait_until(shown, "a status with the hook's output")
        assert (found["step"], found["output"]) == ("before_launch", ["builds b []"])
        assert found["release"] == str(tmp_path / "releases" / "b")
        go.touch()
        assert end(command)[0] == 0
        assert agent.status()["deploying"] is None
        assert run(agent, "rollback")[0] == 0
        assert (tmp_path / "built").read_text().splitlines() == ["builds a []", "builds b []"]


def test_crashes_are_counted_and_the_way_back_is_named(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        assert run(agent, "deploy", "b")[0] == 0
        for count in (1, 2):
            since = len(agent.events())
            status = agent.status()
            pid = next(one["pid"] for one in status["generations"] if one["id"] == status["live"])
            os.kill(pid, signal.SIGKILL)
            agent.wait_for("generation.live", since)
            assert agent.status()["crashes"]["count"] == count
        (warning,) = agent.status()["warnings"]
        assert warning["text"].startswith("b crashed 2 times since it went live, last: ")
        assert warning["text"].endswith("; `rainbowd rollback` goes back to a")


def test_the_files_have_what_a_call_has_answered(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, **enabled(port)) as agent:
        caller = Caller(agent, port)
        caller.until_it_listens()
        for _ in range(10):
            answer = caller.call("POST", "/redeploy?wait=1", {})
            status, events = agent.status(), agent.events()
            assert answer.status == 200
            assert (status["live"], status["last_deploy"]["deploy"]) == (
                answer.told["generation"],
                answer.told["deploy"],
            )
            assert any(
                event["event"] == "deploy.succeeded" and event["deploy"] == answer.told["deploy"] for event in events
            )
