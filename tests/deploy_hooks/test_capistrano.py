from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.deploy_hooks.server import BROKEN, HOOKS, Run, commit, launches, live, project, releases, run, sshd
from tests.live.agent import needs, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.long]

CAPFILE = """
require "capistrano/setup"
require "capistrano/deploy"
require "capistrano/scm/git"
install_plugin Capistrano::SCM::Git
Dir.glob("lib/capistrano/tasks/*.rake").each { |task| import task }
"""
DEPLOY = """
set :application, "hello"
set :repo_url, "file://{repository}"
set :branch, "main"
set :deploy_to, "{directory}"
set :keep_releases, 2
server "127.0.0.1", roles: %w[app], ssh_options: {{ config: ["{ssh_config}"], verify_host_key: :never }}
"""


def test_cap_deploy_is_one_deploy_shows_it_and_fails_with_it(tmp_path: Path) -> None:
    cap = needs("cap")
    with running(tmp_path) as agent, sshd(tmp_path) as ssh_config:
        repository = project(agent)
        local = tmp_path / "local"
        (local / "config" / "deploy").mkdir(parents=True)
        (local / "lib" / "capistrano" / "tasks").mkdir(parents=True)
        shutil.copy(HOOKS / "capistrano.rake", local / "lib" / "capistrano" / "tasks" / "rainbowd.rake")
        (local / "Capfile").write_text(CAPFILE)
        settings = DEPLOY.format(repository=repository, directory=tmp_path, ssh_config=ssh_config)
        (local / "config" / "deploy.rb").write_text(settings)
        (local / "config" / "deploy" / "production.rb").touch()

        def cap_does(task: str) -> Run:
            return run(tmp_path, cap, "production", task, cwd=local)

        commit(repository, "one")
        good = cap_does("deploy")
        (first,) = releases(agent)
        assert good.status == 0, good.output
        assert "is live: generation 2" in good.output
        assert live(agent) == str(tmp_path / "releases" / first)

        commit(repository, "two", BROKEN)
        bad = cap_does("deploy")
        assert bad.status == 1, bad.output
        assert "no such table: users" in bad.output
        assert agent.link.resolve() == tmp_path / "releases" / first
        assert live(agent) == str(tmp_path / "releases" / first)

        commit(repository, "three")
        assert cap_does("deploy").status == 0
        _, last = releases(agent)  # no more are kept
        assert launches(agent) == 4  # a, one, two, three: nothing twice
        requested = [event for event in agent.events() if event["event"] == "deploy.requested"]
        assert "deployed as release" in requested[-1]["note"]

        (tmp_path / "releases" / "b").touch()  # the newest but one is what Capistrano goes back to
        (tmp_path / "releases" / last).touch()
        back = cap_does("deploy:rollback")
        assert back.status == 0, back.output
        assert live(agent) == str(tmp_path / "releases" / "b")
        assert last in releases(agent)  # requests may still be finished there
