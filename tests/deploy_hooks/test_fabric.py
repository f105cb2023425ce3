from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.deploy_hooks.server import BROKEN, HOOKS, Run, commit, live, project, releases, run, sshd
from tests.live.agent import needs, running

pytestmark = [pytest.mark.live, pytest.mark.long]


def test_fab_deploys_over_ssh_and_fails_with_the_deploy(tmp_path: Path) -> None:
    fab = needs("fab")
    with running(tmp_path) as agent, sshd(tmp_path) as ssh_config:
        repository = project(agent)
        shutil.copy(HOOKS / "fabfile.py", repository)

        def fab_does(task: str, *options: str) -> Run:
            words = [fab, "-S", str(ssh_config), "-H", "127.0.0.1", task, "--directory", str(tmp_path), *options]
            return run(tmp_path, *words, cwd=repository, variables={"PYTHONWARNINGS": "ignore"})

        commit(repository, "good")
        good = fab_does("deploy")
        assert good.status == 0, good.output
        (release,) = releases(agent)
        assert live(agent) == str(tmp_path / "releases" / release)

        commit(repository, "bad", BROKEN)
        bad = fab_does("deploy")
        assert bad.status == 1, bad.output
        assert "no such table: users" in bad.output
        assert live(agent) == str(tmp_path / "releases" / release)

        agent.add_release("20200101000000")
        again = fab_does("deploy", "--revision", "HEAD~1", "--keep", "3")
        assert again.status == 0, again.output
        assert releases(agent)[-1] == Path(live(agent)).name
        assert "20200101000000" not in releases(agent)

        back = fab_does("rollback")
        assert back.status == 0, back.output
        assert live(agent) == str(tmp_path / "releases" / release)
