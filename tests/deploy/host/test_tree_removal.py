from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rainbowd.deploy.host import tree_removal
from rainbowd.deploy.host.tree_removal import remove_tree
from tests.accounts import needs_root, uid

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def emptied(tmp_path: Path) -> Iterator[None]:
    """Nothing is left, should a test fail: pytest cannot remove such trees, and would fail from then on."""
    yield
    for left in tmp_path.iterdir():
        remove_tree(left)


def nested(directory: Path, depth: int, name: str = "d") -> None:
    """Make directories so deep that no path leads to the last one."""
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        deeper = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


@pytest.mark.parametrize("name", ["d", "n" * 255], ids=["short names", "long names"])
def test_three_thousand_nested_directories_go(tmp_path: Path, name: str) -> None:
    nested(tmp_path / "deep", 3000, name)
    remove_tree(tmp_path / "deep")
    assert list(tmp_path.iterdir()) == []


def test_two_trees_that_are_both_wide_and_deep_go(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    for number in range(3):
        nested(top / f"{number}", 300)
        for file in range(300):
            (top / f"{number}" / f"file {file}").touch()
    remove_tree(top)
    assert not top.exists()


def test_many_files_take_no_more_memory_than_few(tmp_path: Path) -> None:
    def peak_bytes(files: int) -> int:
        top = tmp_path / "top"
        (top / "inner").mkdir(parents=True)
        for number in range(files):
            os.close(os.open(top / "inner" / f"{number:0100}", os.O_CREAT | os.O_WRONLY))
        tracemalloc.start()
        remove_tree(top)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert not top.exists()
        return peak

    few = peak_bytes(100)
    assert peak_bytes(4_000) < few + 100_000


def test_odd_names_and_odd_files_go(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    for name in (b"\xff\xfe", b"new\nline", b"-rf", b" ", b"n" * 255):
        Path(os.fsdecode(os.path.join(os.fsencode(top), name))).touch()  # noqa: PTH118
    os.mkfifo(top / "pipe")
    (top / "loop").symlink_to("loop")
    (top / "out").symlink_to(tmp_path)
    remove_tree(top)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_its_place_goes_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (tmp_path / "top").symlink_to("precious")
    remove_tree(tmp_path / "top")
    assert [one.name for one in tmp_path.rglob("*")] == ["precious", "file"]


def test_a_missing_tree_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "none")


@needs_root
def test_an_agent_that_is_not_root_removes_what_its_app_has_closed(open_path: Path) -> None:
    top = open_path / "top"
    for directory in (top, top / "a", top / "a" / "b", top / "a" / "b" / "c"):
        directory.mkdir()
    for path in (open_path, *open_path.rglob("*")):
        os.chown(path, uid(), -1)
    for directory in (top / "a" / "b" / "c", top / "a" / "b", top / "a", top):
        directory.chmod(0)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setuid(uid())
            remove_tree(top)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert list(open_path.iterdir()) == []


def test_a_file_that_cannot_be_removed_is_reported_and_all_others_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "top"
    (top / "inner").mkdir(parents=True)
    for name in ("a", "stays", "z"):
        (top / name).touch()
        (top / "inner" / name).touch()
    unlink = os.unlink

    def refusing(name: str, *, dir_fd: int | None = None) -> None:
        if name == "stays" and dir_fd is not None:
            raise PermissionError(1, "Operation not permitted", name)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refusing)
    with pytest.raises(PermissionError):
        remove_tree(top)
    monkeypatch.undo()
    assert (top / "stays").exists()
    assert sorted(file.name for file in top.rglob("?")) == []


def test_a_removal_that_is_outrun_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "top" / "inner").mkdir(parents=True)
    monkeypatch.setattr(tree_removal, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(TimeoutError):
        remove_tree(tmp_path / "top")
