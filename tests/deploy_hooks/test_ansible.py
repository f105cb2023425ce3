from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.deploy_hooks.server import BROKEN, HOOKS, commit, environment, launches, live, project, releases, run
from tests.live.agent import needs, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.long]

NAMES = "one", "two"
QUICK = {"ANSIBLE_PIPELINING": "1", "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3"}
OLD = "20200101000000"


def test_a_playbook_deploys_host_after_host_and_ends_with_the_first_that_fails(tmp_path: Path) -> None:
    ansible = needs("ansible-playbook")
    with ExitStack() as stack:
        agents = {}
        for name in NAMES:
            (tmp_path / name).mkdir()
            agents[name] = stack.enter_context(running(tmp_path / name, drain={"tunnels": 1}))
        repository = project(agents["one"])
        variables = QUICK | {"PATH": environment(tmp_path / "one")["PATH"]}
        hosts = [f"{name} ansible_connection=local app_directory={tmp_path / name}" for name in NAMES]
        (tmp_path / "hosts").write_text("\n".join(hosts) + "\n")
        words = [ansible, "-i", str(tmp_path / "hosts"), str(HOOKS / "ansible.yml")]
        words += ["-e", f"repository=file://{repository}", "-e", "keep=1"]

        commit(repository, "good")
        for agent in agents.values():
            agent.add_release(OLD)
        good = run(tmp_path, *words, variables=variables)
        assert good.status == 0, good.output
        for agent in agents.values():
            assert live(agent).rpartition("/")[2] == releases(agent)[-1] != OLD
            assert OLD not in releases(agent)
            assert {entry.name for entry in (agent.directory / "releases").iterdir()} > {"a", "b"}
        before = {name: live(agent) for name, agent in agents.items()}

        commit(repository, "bad", BROKEN)
        bad = run(tmp_path, *words, variables=variables)
        assert bad.status == 2, bad.output
        assert "no such table: users" in bad.output
        assert {name: live(agent) for name, agent in agents.items()} == before
        assert [launches(agent) for agent in agents.values()] == [3, 2]
