from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from rainbowd.report import reserved_file
from rainbowd.report.reserved_file import RESERVE_BYTES, ReservedFile

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """No new file can be written."""

    def replace_file(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(reserved_file, "replace_file", replace_file)


def filled(directory: Path) -> Path:
    file = directory / "status.json"
    ReservedFile(file).replace(b'{"number": 0}\n')
    return file


def test_a_file_is_replaced_in_its_reserve_when_the_disk_is_full(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = filled(tmp_path)
    inode = file.stat().st_ino
    request.getfixturevalue("full")
    for number in range(1, 5):
        ReservedFile(file).replace(b'{"number": %d}\n' % number)
        assert json.loads(file.read_bytes()) == {"number": number}
    assert file.stat().st_ino != inode, "a reader of the old one still reads that"
    assert file.read_bytes().endswith(b"}" + b" " * (RESERVE_BYTES - 14) + b"\n")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["status.json", "status.json.spare"]
    assert (tmp_path / "status.json.spare").stat().st_size == RESERVE_BYTES


def test_a_content_longer_than_the_reserve_is_not_written(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    file = filled(tmp_path)
    request.getfixturevalue("full")
    with pytest.raises(OSError, match="No space left"):
        ReservedFile(file).replace(b"x" * (RESERVE_BYTES + 1))
    assert json.loads(file.read_bytes()) == {"number": 0}


def test_without_a_reserve_the_file_stays_as_it_was(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    file = filled(tmp_path)
    (tmp_path / "status.json.spare").unlink()
    request.getfixturevalue("full")
    with pytest.raises(OSError, match="No space left"):
        ReservedFile(file).replace(b"{}")
    assert json.loads(file.read_bytes()) == {"number": 0}


def test_the_reserve_is_taken_again_when_there_is_room(tmp_path: Path) -> None:
    file = filled(tmp_path)
    (tmp_path / "status.json.spare").unlink()
    ReservedFile(file).replace(b"{}")
    assert (tmp_path / "status.json.spare").stat().st_size == RESERVE_BYTES
