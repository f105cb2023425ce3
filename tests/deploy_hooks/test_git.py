from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy_hooks.server import BROKEN, HOOKS, Run, commit, launches, live, project, releases, run
from tests.live.agent import Agent, needs, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live


def bare(agent: Agent, hook: str, keep: int = 2) -> Path:
    """A repository to push to."""
    git = needs("git")
    repository = agent.directory / "hello.git"
    assert run(agent.directory, git, "init", "-q", "--bare", "-b", "main", str(repository)).status == 0
    shutil.copy(HOOKS / "post-receive", repository / "hooks" / hook)
    for name, value in {"directory": agent.directory, "keep": keep}.items():
        assert run(agent.directory, git, "config", f"rainbowd.{name}", str(value), cwd=repository).status == 0
    return repository


def push(agent: Agent, *references: str) -> Run:
    words = ["git", "push", "-q", str(agent.directory / "hello.git"), *(references or ("main",))]
    return run(agent.directory, *words, cwd=agent.directory / "project")


def test_a_push_is_one_deploy_that_the_pusher_sees(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        bare(agent, "post-receive")
        repository = project(agent)
        first = commit(repository, '--one\'s "note"')
        pushed = push(agent)
        assert pushed.status == 0, pushed.output
        assert "remote: " in pushed.output
        assert "is live: generation 2" in pushed.output
        assert live(agent).endswith(f"-{first[:10]}")
        asked = agent.find("deploy.requested", trigger="file")
        assert asked is not None
        assert asked["note"] == '--one\'s "note"'

        commit(repository, "two", BROKEN)
        pushed = push(agent)
        assert "no such table: users" in pushed.output
        assert live(agent).endswith(f"-{first[:10]}")
        assert agent.link.resolve().name.endswith(f"-{first[:10]}")

        run(tmp_path, "git", "branch", "other", cwd=repository)
        assert push(agent, "other").output == ""
        assert push(agent, ":main", "other:other").status in {0, 1}  # git lets nobody delete a bare repository's HEAD
        assert launches(agent) == 3


def test_where_a_deploy_fails_a_pre_receive_hook_refuses_the_push(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        served = bare(agent, "pre-receive")
        repository = project(agent)
        first = commit(repository, "one")
        assert push(agent).status == 0
        commit(repository, "two", BROKEN)
        refused = push(agent)
        assert refused.status == 1
        assert "pre-receive hook declined" in refused.output
        assert run(tmp_path, "git", "rev-parse", "main", cwd=served).output.strip() == first
        assert live(agent).endswith(f"-{first[:10]}")


def live_and_standby(agent: Agent) -> dict[str, Any] | None:
    """The status, where no other generation is alive."""
    status = agent.status()
    states = {generation["state"] for generation in status["generations"]}
    return status if states <= {"live", "standby"} else None


def test_old_releases_go_but_none_in_which_a_generation_still_runs(tmp_path: Path) -> None:
    with running(tmp_path, standby=600, max_generations=4) as agent:
        bare(agent, "post-receive", keep=1)
        repository, made = project(agent), []
        for number in range(4):
            agent.wait_until(lambda: live_and_standby(agent), "the one before to be gone")
            commit(repository, f"release {number}")
            pushed = push(agent)
            assert pushed.status == 0, pushed.output
            in_use = {generation["release"].rpartition("/")[2] for generation in agent.status()["generations"]} - {"a"}
            assert set(releases(agent)) >= in_use
            made.append(releases(agent)[-1])
        assert made[0] not in releases(agent)  # neither live nor standby at the last push, where one was to be kept
        assert {entry.name for entry in (tmp_path / "releases").iterdir()} > {"a", "b"}  # which it did not make


def test_where_nobody_can_say_what_is_in_use_nothing_is_removed(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        bare(agent, "post-receive", keep=1)
        repository = project(agent)
        commit(repository, "one")
        push(agent)
        assert agent.stop() == 0
        commit(repository, "two")
        assert "no agent is running" in push(agent).output
        assert len(releases(agent)) == 2
