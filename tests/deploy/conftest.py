"""No test of the deploy side leaves a process behind, neither running nor as a zombie; and a site for some."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from rainbowd.deploy.process.procfs import read_table
from rainbowd.prctl import become_subreaper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rainbowd.deploy.process.procfs import ProcessInfo


@pytest.fixture(scope="session", autouse=True)
def subreaper() -> None:
    """What the agent is to its descendants."""
    become_subreaper()


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Every descendant comes to us when its parent ends, so that to have no children is to have left nothing."""
    before = _children()
    yield
    left = {pid: entry for pid, entry in _children().items() if pid not in before}
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not left


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two releases, a link to the first of them, and a trigger file."""
    for name in ("v1", "v2"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/v1")
    (tmp_path / "trigger").touch()
    return tmp_path


def _children() -> dict[int, ProcessInfo]:
    return {pid: entry for pid, entry in read_table().items() if entry.parent == os.getpid()}
