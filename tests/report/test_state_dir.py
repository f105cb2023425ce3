from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rainbowd
from rainbowd.errors import UsageError
from rainbowd.report.state_dir import open_file, open_to_read, prepare, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(rainbowd.__file__).parents[1]
NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o077], ids=["open umask", "tight umask"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


# --- the directory ----------------------------------------------------------------------------------------


def test_the_directory_is_for_the_agent_and_its_group_with_every_umask(tmp_path: Path, umask: None) -> None:
    prepare(tmp_path / "deep" / "state")
    assert mode(tmp_path / "deep" / "state") == 0o2750


def test_if_the_app_is_another_user_everybody_may_search_the_directory(tmp_path: Path, umask: None) -> None:
    prepare(tmp_path / "state", is_searched=True)
    assert mode(tmp_path / "state") == 0o2751
    (tmp_path / "old").mkdir(0o700)
    prepare(tmp_path / "old", is_searched=True)
    assert mode(tmp_path / "old") == 0o701


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    prepare(tmp_path)
    assert mode(tmp_path) == 0o770


@pytest.mark.parametrize("target", ["a file", "a dangling link", "below a file"])
def test_a_path_that_cannot_be_a_directory_is_named(tmp_path: Path, target: str) -> None:
    path = tmp_path / "state"
    if target == "a dangling link":
        path.symlink_to("nowhere")
    else:
        path.touch()
    if target == "below a file":
        path /= "deeper"
    with pytest.raises(UsageError, match=f"state_dir: {path}: "):
        prepare(path)


def test_a_directory_that_may_not_be_written_is_named() -> None:
    path = Path(tempfile.mkdtemp())  # where others may look, too
    path.chmod(0o555)
    uid = os.geteuid()
    try:
        if uid == 0:
            os.seteuid(NOBODY)
        with pytest.raises(UsageError, match=f"state_dir: {path}: not writable"):
            prepare(path)
        with pytest.raises(UsageError, match=f"state_dir: {path}/state: cannot be created: Permission denied"):
            prepare(path / "state")
    finally:
        os.seteuid(uid)
        shutil.rmtree(path)


# --- files ------------------------------------------------------------------------------------------------


def test_a_file_is_for_the_agent_and_its_group_and_no_child_has_it(tmp_path: Path, umask: None) -> None:
    fd = open_file(tmp_path / "file", os.O_WRONLY)
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert mode(tmp_path / "file") == 0o640


def test_a_replaced_file_is_another_file_with_all_of_the_content(tmp_path: Path, umask: None) -> None:
    file = tmp_path / "file"
    replace_file(file, b"one")
    before = file.stat().st_ino
    replace_file(file, b"two" * 100_000)
    assert file.read_bytes() == b"two" * 100_000
    assert (file.stat().st_ino != before, mode(file)) == (True, 0o640)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left_next_to_it(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_link_where_the_new_file_is_written_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / "file.new").symlink_to("other")
    replace_file(tmp_path / "file", b"data")
    assert (tmp_path / "other").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "data"


def test_the_file_of_an_interrupted_write_is_not_written_to(tmp_path: Path) -> None:
    left = tmp_path / "token.new"
    left.touch(0o666)
    with left.open() as reader:
        replace_file(tmp_path / "token", b"secret", mode=0o600)
        assert reader.read() == ""
    assert mode(tmp_path / "token") == 0o600


def test_only_a_regular_file_is_opened_to_be_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="expected a regular file"):
        open_file(tmp_path / "pipe", os.O_RDWR)


def test_new_parents_may_be_entered_by_everybody_and_written_by_the_owner_only(tmp_path: Path, umask: None) -> None:
    prepare(tmp_path / "deep" / "deeper" / "state")
    assert (mode(tmp_path / "deep"), mode(tmp_path / "deep" / "deeper")) == (0o755, 0o755)


def test_nothing_is_read_through_a_symlink_and_no_pipe_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    (tmp_path / "link").symlink_to("secret")
    with pytest.raises(OSError, match="symbolic links"):
        open_to_read(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    with open_to_read(tmp_path / "pipe") as file:
        assert file.read() == b""
    with open_to_read(tmp_path / "secret") as file:
        assert file.read() == b"1"
        assert not os.get_inheritable(file.fileno())
