from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rainbowd import release_link
from rainbowd.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "current").symlink_to("releases/a")
    return tmp_path


def test_a_link_stays_relative_or_absolute_as_it_was(site: Path) -> None:
    current, b = site / "current", site / "releases" / "b"
    release_link.repoint(current, b)
    assert release_link.read(current) == "releases/b"
    current.unlink()
    current.symlink_to(site / "releases" / "a")
    release_link.repoint(current, b)
    assert release_link.read(current) == str(b)
    assert sorted(entry.name for entry in site.iterdir()) == ["current", "elsewhere", "releases"]


def test_a_new_link_is_relative_if_the_release_is_below_its_directory(site: Path) -> None:
    (site / "current").unlink()
    release_link.repoint(site / "current", site / "releases" / "b")
    assert release_link.read(site / "current") == "releases/b"
    (site / "deep").mkdir()
    release_link.repoint(site / "deep" / "current", site / "releases" / "b")
    assert release_link.read(site / "deep" / "current") == str(site / "releases" / "b")


def test_a_relative_link_in_a_directory_that_is_reached_over_a_link_leads_to_the_release(site: Path) -> None:
    (site / "deep" / "er").mkdir(parents=True)
    (site / "deep" / "er" / "current").symlink_to("../../releases/a")
    (site / "way").symlink_to("deep/er")
    release_link.repoint(site / "way" / "current", site / "releases" / "b")
    assert (site / "way" / "current").resolve() == site / "releases" / "b"


def test_a_change_is_undone_exactly_as_the_link_was_written(site: Path) -> None:
    current = site / "current"
    current.unlink()
    current.symlink_to("./releases//a")
    change = release_link.repoint(current, site / "releases" / "b")
    assert release_link.restore(change)
    assert release_link.read(current) == "./releases//a"


def test_a_change_that_someone_changed_since_stays(site: Path) -> None:
    current = site / "current"
    change = release_link.repoint(current, site / "releases" / "b")
    release_link.repoint(current, site / "releases" / "b")
    assert not release_link.restore(change)
    assert release_link.read(current) == "releases/b"
    current.unlink()
    assert not release_link.restore(change)


def test_a_path_that_is_not_a_link_is_not_switched(site: Path) -> None:
    with pytest.raises(UsageError, match="expected a symlink"):
        release_link.repoint(site / "releases", site / "elsewhere")
    with pytest.raises(UsageError, match="expected a symlink"):
        release_link.require_symlink(site / "gone")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_named(site: Path) -> None:
    site.chmod(0o500)
    with pytest.raises(UsageError, match=r"cannot switch the link .*: Permission denied"):
        release_link.repoint(site / "current", site / "releases" / "b")
