from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from rainbowd.agent import StateDirGuard
from rainbowd.report import agent_pid_file
from rainbowd.report.lock import Lock, holder
from rainbowd.report.state_dir import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    prepare(tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def written() -> list[str]:
    return []


@pytest.fixture
def guard(state_dir: Path, written: list[str]) -> Iterator[StateDirGuard]:
    lock = Lock.acquire(state_dir)
    yield StateDirGuard(lock, state_dir, is_searched=False, rewrite=[lambda: written.append("again")])
    lock.release()


async def test_an_existing_state_directory_is_left_alone(guard: StateDirGuard, written: list[str]) -> None:
    assert not await guard.restore_if_lost()
    assert written == []


@pytest.mark.parametrize("lost", ["the directory", "the lock", "a copy in its place"])
async def test_a_removed_directory_is_created_again_once(
    guard: StateDirGuard, state_dir: Path, written: list[str], lost: str
) -> None:
    if lost == "the lock":
        (state_dir / "lock").unlink()
    else:
        shutil.move(state_dir, state_dir.with_name("old"))
    if lost == "a copy in its place":
        shutil.copytree(state_dir.with_name("old"), state_dir)
    assert await guard.restore_if_lost()
    assert holder(state_dir) == os.getpid()
    assert not await guard.restore_if_lost()
    assert written == ["again"]


async def test_the_lock_of_another_agent_is_not_taken(
    guard: StateDirGuard, state_dir: Path, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rainbowd.report.lock.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("rainbowd.report.lock.find_agent_without_lock", lambda _path, _config: None)
    shutil.rmtree(state_dir)
    prepare(state_dir)
    other = Lock.acquire(state_dir)
    assert not await guard.restore_if_lost()
    assert written == []
    other.release()
    assert await guard.restore_if_lost()


async def test_a_missing_record_for_readers_is_written_again(guard: StateDirGuard, state_dir: Path) -> None:
    (state_dir / agent_pid_file.NAME).unlink()
    assert not await guard.restore_if_lost()
    assert (state_dir / agent_pid_file.NAME).exists()
