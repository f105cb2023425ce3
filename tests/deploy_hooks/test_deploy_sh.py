from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.live.agent import PATIENCE_SECONDS, ROOT, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.agent import Agent

SCRIPT = ROOT / "deploy-hooks" / "deploy.sh"


def deploy(agent: Agent, release: str) -> subprocess.CompletedProcess[str]:
    words = [str(SCRIPT), str(agent.directory / "releases" / release), str(agent.link), str(agent.state_dir)]
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


@pytest.mark.live
def test_the_deploy_script_ends_with_0_when_the_release_is_live_and_with_1_when_it_failed(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as agent:
        agent.add_release("broken", exit_status=3, output=["no such table: users"])
        good = deploy(agent, "b")
        assert (good.returncode, good.stderr) == (0, "")
        assert agent.status()["generations"][-1]["release"].endswith("/releases/b")

        bad = deploy(agent, "broken")
        assert (bad.returncode, bad.stdout) == (1, "")
        assert "no such table: users" in bad.stderr

        back = deploy(agent, "b")
        assert back.returncode == 0
        assert "deploy.rolled_back" in back.stdout


def test_the_deploy_script_refuses_a_release_that_is_no_directory(tmp_path: Path) -> None:
    words = [str(SCRIPT), str(tmp_path / "missing"), str(tmp_path / "current"), str(tmp_path)]
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "usage:" in refused.stderr
    assert not list(tmp_path.iterdir())
