"""The script, and the CI jobs that call it, as a runner runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy_hooks.server import BROKEN, HOOKS, commit, live, project, releases, run, sshd
from tests.live.agent import needs, running

JOBS = {"github-actions.yml": "vendor.github-workflows", "gitlab-ci.yml": "vendor.gitlab-ci"}
SCRIPT = str(HOOKS / "deploy.sh")


def steps(name: str) -> list[str]:
    """The commands of a job that follow the getting ready for ssh."""
    jobs: dict[str, Any] = yaml.safe_load((HOOKS / name).read_text())
    if name == "gitlab-ci.yml":
        return list(jobs["deploy"]["script"])
    return [step["run"] for step in jobs["jobs"]["deploy"]["steps"] if step.get("name") == "Deploy"]


@pytest.mark.live
def test_the_script_and_the_jobs_copy_a_release_deploy_it_and_fail_with_it(tmp_path: Path) -> None:
    needs("rsync")
    (tmp_path / "a server's").mkdir()
    with running(tmp_path / "a server's") as agent, sshd(tmp_path):
        repository = project(agent)
        commit(repository, "good")
        shutil.copytree(HOOKS, repository / "deploy-hooks")
        place = {"HOST": "server", "DIRECTORY": str(agent.directory), "RAINBOWD_NOTE": 'it\'s "1" $HOME'}
        old = agent.add_release("20200101000000")
        for number, name in enumerate(JOBS, 2):
            for command in steps(name):
                done = run(tmp_path, "sh", "-ec", command, cwd=repository, variables=place)
                assert done.status == 0, done.output
                assert f"is live: generation {number}" in done.output
        assert live(agent) == str(agent.directory / "releases" / releases(agent)[-1])
        assert old.is_dir()
        assert not (agent.link / ".git").exists()
        asked = agent.find("deploy.requested", trigger="file")
        assert asked is not None
        assert asked["note"] == place["RAINBOWD_NOTE"]

        before = live(agent)
        commit(repository, "bad", BROKEN)
        bad = run(tmp_path, SCRIPT, "server", str(agent.directory), cwd=repository)
        assert bad.status == 1, bad.output
        assert "no such table: users" in bad.output
        assert live(agent) == before == str(agent.link.resolve())

        again = run(tmp_path, SCRIPT, "server", str(agent.directory), variables={"RAINBOWD_KEEP": "1"}, cwd=old)
        assert again.status == 0, again.output
        in_use = {Path(one["release"]).name for one in agent.status()["generations"]} - {"a", "b"}
        assert old.name not in releases(agent)
        assert in_use <= set(releases(agent))


@pytest.mark.parametrize("words", [[], ["server"], ["server", "/srv/hello", "/missing"], ["a", "b", ".", "d"]])
def test_the_script_refuses_what_it_does_not_understand(tmp_path: Path, words: list[str]) -> None:
    refused = run(tmp_path, SCRIPT, *words)
    assert refused.status == 2
    assert "usage:" in refused.output


@pytest.mark.parametrize(("name", "schema"), JOBS.items())
def test_the_jobs_are_what_the_runners_take(name: str, schema: str) -> None:
    words = [sys.executable, "-W", "ignore", "-m", "check_jsonschema", "--builtin-schema", schema, str(HOOKS / name)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
