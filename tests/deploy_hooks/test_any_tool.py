"""The three steps of a deploy tool that has no file of its own, as the page of the hooks has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.deploy_hooks.server import BROKEN, HOOKS, live, run
from tests.live.agent import running

if TYPE_CHECKING:
    from pathlib import Path

SECTION = (HOOKS / "README.md").read_text().partition("\n## Other tools\n")[2].partition("\n## ")[0]


@pytest.mark.live
def test_a_directory_a_copy_and_one_command_deploy_and_fail_with_the_deploy(tmp_path: Path) -> None:
    found = re.search(r"^```sh\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    assert found
    with running(tmp_path) as agent:
        (tmp_path / "build").mkdir()
        (tmp_path / "build" / "app.json").write_text("{}")
        done = run(tmp_path, "sh", "-ec", found[1], cwd=tmp_path)
        assert done.status == 0, done.output
        assert live(agent) == str(tmp_path / "releases" / "v3")

        (tmp_path / "build" / "app.json").write_text(BROKEN)
        bad = run(tmp_path, "sh", "-ec", found[1].replace("v3", "v4"), cwd=tmp_path)
        assert bad.status == 1
        assert "no such table: users" in bad.output
        assert agent.link.resolve().name == "v3"
