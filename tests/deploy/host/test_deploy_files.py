from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rainbowd.config import load
from rainbowd.deploy.host.deploy_files import DeployFiles
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    for name in ("a", "b"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/a")
    (tmp_path / "app.env").write_text("SECRET=one\n")
    configure(tmp_path)
    return tmp_path


def configure(site: Path, **keys: object) -> None:
    config = {"run": "app", "health": "/up", "release": "current", "env_file": "app.env", **keys}
    (site / "rainbowd.json").write_text(json.dumps(config))


@pytest.fixture
def files(site: Path) -> DeployFiles:
    return DeployFiles(site / "rainbowd.json", load(site / "rainbowd.json"))


def test_a_plan_is_of_the_files_as_they_then_are(site: Path, files: DeployFiles) -> None:
    configure(site, standby=7)
    (site / "app.env").write_text("SECRET=two\n")
    plan = files.launch_plan()
    assert (plan.release, plan.config.standby, plan.env_file) == (site / "releases" / "a", 7, {"SECRET": "two"})
    assert plan.source["standby"] == 7
    assert files.launch_plan(site / "releases" / "b").release == site / "releases" / "b"


def test_a_broken_config_is_a_failed_deploy_with_its_error(site: Path, files: DeployFiles) -> None:
    (site / "app.env").write_text("not a variable\n")
    with pytest.raises(DeployFailed, match=r"app\.env: line 1"):
        files.launch_plan()
    (site / "rainbowd.json").write_text("{")
    with pytest.raises(DeployFailed, match=r"rainbowd\.json: line 1"):
        files.launch_plan()


def test_the_release_that_is_named_is_resolved_as_far_as_it_goes(site: Path, files: DeployFiles) -> None:
    assert files.named_release() == site / "releases" / "a"
    (site / "current").unlink()
    assert files.named_release() is None
    (site / "current").symlink_to("releases/none")
    assert str(files.named_release()) == "releases/none"
    assert files.file_state() is not None
    with pytest.raises(DeployFailed, match="is a dangling link"):
        files.launch_plan()


def test_another_release_in_the_config_is_without_effect(site: Path, files: DeployFiles) -> None:
    configure(site, release="releases/b")
    assert files.launch_plan().release == site / "releases" / "a"
