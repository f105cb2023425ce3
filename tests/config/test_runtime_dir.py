from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from rainbowd.config import runtime_dir
from rainbowd.config.runtime_dir import find_runtime_dir, make_private
from tests.accounts import needs_root, uid

if TYPE_CHECKING:
    from pathlib import Path


def test_the_directory_of_the_service_comes_before_that_of_the_session(tmp_path: Path) -> None:
    for name in ("service", "session"):
        (tmp_path / name).mkdir(0o755)
    environ = {"RUNTIME_DIRECTORY": f"{tmp_path}/service:/elsewhere", "XDG_RUNTIME_DIR": f"{tmp_path}/session"}
    found = find_runtime_dir(tmp_path / "shop" / "state", environ)
    assert found is not None
    assert found.parent == tmp_path / "service" / "rainbowd"
    assert found.name.startswith("shop-")
    del environ["RUNTIME_DIRECTORY"]
    assert find_runtime_dir(tmp_path / "shop" / "state", environ) == tmp_path / "session" / "rainbowd" / found.name
    assert find_runtime_dir(tmp_path / "other" / "state", environ) != find_runtime_dir(tmp_path / "shop/state", environ)


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_directory_that_others_may_write_is_skipped(tmp_path: Path, mode: int) -> None:
    (tmp_path / "session").mkdir()
    (tmp_path / "session").chmod(mode)
    found = find_runtime_dir(tmp_path / "state", {"XDG_RUNTIME_DIR": f"{tmp_path}/session"})
    assert found is None or not found.is_relative_to(tmp_path)


@needs_root
def test_a_directory_of_another_user_is_skipped(tmp_path: Path) -> None:
    """As root has it after ``sudo -E``."""
    (tmp_path / "session").mkdir(0o700)
    os.chown(tmp_path / "session", uid(), -1)
    found = find_runtime_dir(tmp_path / "state", {"XDG_RUNTIME_DIR": f"{tmp_path}/session"})
    assert found is None or not found.is_relative_to(tmp_path)


@needs_root
def test_in_tmp_nothing_is_used_that_another_user_made_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_dir, "_bases", lambda _environ: iter(()))
    monkeypatch.setattr(runtime_dir, "_is_ours", lambda _directory: False)
    monkeypatch.setattr("os.path.lexists", lambda _path: True)
    assert find_runtime_dir(tmp_path / "state", {}) is None


def test_the_new_directory_is_private_and_found_again(tmp_path: Path) -> None:
    make_private(tmp_path / "rainbowd" / "shop")
    make_private(tmp_path / "rainbowd" / "shop")
    for directory in (tmp_path / "rainbowd", tmp_path / "rainbowd" / "shop"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@needs_root
@pytest.mark.parametrize("what", ["directory", "link"])
def test_a_directory_that_another_user_made_first_is_refused(tmp_path: Path, what: str) -> None:
    if what == "directory":
        (tmp_path / "rainbowd").mkdir(0o700)
        os.chown(tmp_path / "rainbowd", uid(), -1)
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "rainbowd").symlink_to("elsewhere")
    with pytest.raises(OSError, match=r"belongs to another user|Not a directory|symbolic"):
        make_private(tmp_path / "rainbowd" / "shop")
