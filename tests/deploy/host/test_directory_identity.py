from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from rainbowd.deploy.host.directory_identity import directory_identity

if TYPE_CHECKING:
    from pathlib import Path


def test_a_directory_stays_the_same_whatever_is_put_in_it(tmp_path: Path) -> None:
    release = tmp_path / "v1"
    release.mkdir()
    before = directory_identity(release)
    (release / "__pycache__").mkdir()
    release.chmod(0o700)
    assert directory_identity(release) == before
    assert before is not None


def test_a_directory_that_is_made_again_is_another(tmp_path: Path) -> None:
    release = tmp_path / "v1"
    found = set()
    for _ in range(5):
        release.mkdir()
        found.add(tuple(directory_identity(release) or ()))
        shutil.rmtree(release)
        time.sleep(0.02)  # a file system's clock ticks every 10 ms
    assert len(found) == 5


def test_a_directory_that_is_away_has_no_identity(tmp_path: Path) -> None:
    assert directory_identity(tmp_path / "gone") is None
