from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from rainbowd.errors import RainbowdError
from rainbowd.report.status import read, write


def test_a_written_status_is_read_with_the_format_first(tmp_path: Path) -> None:
    write(tmp_path, {"live": 3, "wanted": Path("/srv/v1")})
    assert read(tmp_path) == {"format": 1, "live": 3, "wanted": "/srv/v1"}
    assert (tmp_path / "status.json").read_text().startswith('{"format": 1, ')
    assert stat.S_IMODE((tmp_path / "status.json").stat().st_mode) == 0o640


def test_without_a_file_there_is_no_status(tmp_path: Path) -> None:
    assert read(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"9" * 5000, b"null"])
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status.json").write_bytes(content)
    with pytest.raises(RainbowdError, match=rf"{tmp_path}/status\.json: damaged"):
        read(tmp_path)


@pytest.mark.parametrize("found", [2, None, "1"])
def test_another_format_is_refused(tmp_path: Path, found: object) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"format": found}))
    with pytest.raises(RainbowdError, match=f"found format .*{found or 'null'}.*reads 1"):
        read(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    with pytest.raises(RainbowdError, match=r"status\.json: cannot be read: Is a directory"):
        read(tmp_path)
