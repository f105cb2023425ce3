from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from rainbowd.deploy.host.generation_files import GenerationFiles
from tests.accounts import account, needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=[0o000, 0o077], ids=["open umask", "tight umask"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """One that hands its group down."""
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o2750)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.usefixtures("umask")
def test_the_apps_directory_is_its_own_alone_and_the_record_is_for_the_group(state_dir: Path) -> None:
    place = GenerationFiles(state_dir, 7)
    place.make()
    place.put_on_record(b"{}", b"secret")
    assert mode(place.directory) == 0o700
    assert mode(state_dir / "generation-7.json") == 0o640
    assert mode(state_dir / "generation-7.plan") == 0o600
    assert mode(state_dir) == 0o2750
    place.clear()
    assert list(state_dir.iterdir()) == []


@needs_root
def test_another_users_app_has_its_directory_and_the_way_there(state_dir: Path) -> None:
    place, user = GenerationFiles(state_dir, 7), account()
    place.make(user)
    status = place.directory.stat()
    assert (status.st_uid, status.st_gid, mode(place.directory)) == (user.uid, user.gid, 0o700)
    assert (mode(state_dir), state_dir.stat().st_uid) == (0o2751, 0)


def test_what_is_in_the_way_is_not_taken_for_the_apps_directory(tmp_path: Path, state_dir: Path) -> None:
    (state_dir / "generation-7").symlink_to(tmp_path)
    with pytest.raises(FileExistsError):
        GenerationFiles(state_dir, 7).make()


def test_a_record_is_never_written_through_a_link(tmp_path: Path, state_dir: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (state_dir / "generation-7.json").symlink_to(tmp_path / "precious")
    GenerationFiles(state_dir, 7).put_on_record(b"{}", b"")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (state_dir / "generation-7.json").read_text() == "{}"


def test_what_the_app_has_left_goes_and_nothing_that_it_points_to(tmp_path: Path, state_dir: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    place = GenerationFiles(state_dir, 7)
    place.make()
    (place.directory / "link").symlink_to(tmp_path / "precious")
    (place.directory / "more").mkdir()
    (place.directory / "more" / "link").symlink_to(tmp_path)
    place.pidfile.write_text("1")
    place.clear()
    assert not place.directory.exists()
    assert (tmp_path / "precious").exists()


def test_a_file_that_cannot_be_removed_is_reported_and_does_not_keep_the_others(state_dir: Path) -> None:
    place = GenerationFiles(state_dir, 7)
    place.make()
    place.put_on_record(b"{}", b"")
    place.output.mkdir()  # no file, so that it cannot be removed as one
    with pytest.raises(OSError, match=r"generation-7\.out"):
        place.clear()
    assert [entry.name for entry in state_dir.iterdir()] == ["generation-7.out"]
