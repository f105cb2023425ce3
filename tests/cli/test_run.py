from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from rainbowd.cli.run import _warn_of_link
from rainbowd.config import load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site whose config is in its release, entered through the link."""
    (tmp_path / "releases" / "r1").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/r1")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    return tmp_path


def warnings(site: Path, **config: object) -> list[str]:
    file = site / "releases" / "r1" / "rainbowd.json"
    file.write_text(json.dumps({"run": "true", "warmup": 0} | config))
    return _warn_of_link(load(file).config, site / "releases" / "r1")


def test_a_start_through_a_link_that_deploys_nothing_is_a_warning(site: Path) -> None:
    (line,) = warnings(site)
    assert f"set release to {site}/current to deploy by it" in line


def test_a_release_that_is_the_link_is_not(site: Path) -> None:
    assert warnings(site, release="../../current") == []


@pytest.mark.parametrize("shell", ["", "releases/r1", "elsewhere"])
def test_a_start_from_the_directory_itself_is_not(site: Path, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("PWD", os.path.join(site, shell) if shell else "")  # noqa: PTH118
    assert warnings(site) == []
