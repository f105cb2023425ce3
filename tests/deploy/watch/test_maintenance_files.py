from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import pytest

from rainbowd.config import validate
from rainbowd.deploy.watch.maintenance_files import CONTENT_BYTES, PAUSE_TIMES, MaintenanceFile, SiteFiles, SiteState
from rainbowd.deploy.watch.regular_file import find_file, find_files
from rainbowd.permissions import user_name

if TYPE_CHECKING:
    from pathlib import Path

ME = user_name(os.geteuid())


class Site:
    """The files of a site, and the states that were reported."""

    def __init__(self, base: Path, **config: Any) -> None:
        loaded = validate({"run": ["true"], "warmup": 0, **config}, base / "rainbowd.json")
        self.told: list[SiteState] = []
        self.files = SiteFiles(loaded.config, self.told.append)
        self.maintenance, self.pause = base / "rainbowd.maintenance", base / "rainbowd.pause"

    def at(self, now: float) -> SiteState:
        self.files.compare(find_files(self.files.paths), now)
        return self.files.state


def test_a_maintenance_file_is_reported_with_its_content_and_owner_and_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.at(0.0) == SiteState()
    site.maintenance.write_bytes(b"<h1>Closed</h1>")
    state = site.at(1.0)
    assert state.maintenance == MaintenanceFile(b"<h1>Closed</h1>", ME)
    site.at(2.0)
    assert site.told == [state]
    site.maintenance.unlink()
    assert site.at(3.0) == SiteState()
    assert site.told == [state, SiteState()]


def test_a_changed_maintenance_file_is_reported_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.maintenance.write_bytes(b"a")
    site.at(0.0)
    site.maintenance.write_bytes(b"longer")
    found = site.at(1.0).maintenance
    assert found is not None
    assert found.content == b"longer"


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "fifo", "too large"])
def test_content_that_is_not_safe_to_read_is_not_published_but_the_site_is_closed(tmp_path: Path, kind: str) -> None:
    site, secret = Site(tmp_path), tmp_path / "secret"
    secret.write_bytes(b"secret")
    if kind == "symlink":
        site.maintenance.symlink_to(secret)
    elif kind == "dangling":
        site.maintenance.symlink_to(tmp_path / "nothing")
    elif kind == "hard link":
        site.maintenance.hardlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(site.maintenance)
    else:
        site.maintenance.write_bytes(b"x" * (CONTENT_BYTES + 1))
    assert site.at(0.0).maintenance == MaintenanceFile(b"", ME)


def test_a_directory_is_no_maintenance_file(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.maintenance.mkdir()
    assert site.at(0.0) == SiteState()


@pytest.mark.parametrize("config", [{"maintenance": None}, {"maintenance": {"file": None}}])
def test_null_turns_maintenance_off(tmp_path: Path, config: dict[str, Any]) -> None:
    site = Site(tmp_path, **config)
    site.maintenance.touch()
    assert site.at(0.0) == SiteState()


@pytest.mark.parametrize(
    ("content", "seconds"),
    [(b"", 10.0), (b"30\n", 30.0), (b"0.5", 0.5), (b"soon\n", 10.0), (b"-1\n", 10.0), (b"inf", 10.0)],
)
def test_a_pause_file_may_say_the_seconds(tmp_path: Path, content: bytes, seconds: float) -> None:
    site = Site(tmp_path)
    site.pause.write_bytes(content)
    assert site.at(0.0).pause_seconds == seconds


def test_a_pause_ends_by_itself_and_begins_again_when_the_file_is_written(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.pause.write_bytes(b"2\n")
    end = 100.0 + 2 * PAUSE_TIMES
    assert site.at(100.0).pause_seconds == 2
    assert site.at(end - 0.1).pause_seconds == 2
    assert site.at(end).pause_seconds is None
    site.maintenance.touch()  # another file that changes does not bring the pause back
    assert site.at(end + 1).pause_seconds is None
    site.pause.write_bytes(b"3\n\n")
    assert site.at(end + 2).pause_seconds == 3
    site.pause.unlink()
    assert site.at(end + 3).pause_seconds is None
    assert [state.pause_seconds for state in site.told] == [2, None, None, 3, None]


def test_error_pages_are_read_again_when_they_change(tmp_path: Path) -> None:
    pages = tmp_path / "errors"
    pages.mkdir()
    site = Site(tmp_path, error_pages="errors")
    (pages / "503.html").write_bytes(b"<h1>Sorry</h1>")
    (pages / "404.html").write_bytes(b"<h1>not ours</h1>")
    (pages / "502.html").write_bytes(b"x" * (CONTENT_BYTES + 1))
    assert site.at(0.0).error_pages == {503: b"<h1>Sorry</h1>"}
    (pages / "503.html").write_bytes(b"<h1>We are sorry</h1>")
    (pages / "504.html").write_bytes(b"<h1>Slow</h1>")
    assert site.at(1.0).error_pages == {503: b"<h1>We are sorry</h1>", 504: b"<h1>Slow</h1>"}
    assert {path.parent for path in site.files.paths} == {tmp_path, pages}


def test_a_file_that_nothing_can_be_known_of_counts_as_unchanged(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.maintenance.write_bytes(b"closed")
    site.at(0.0)
    site.pause.touch()
    site.files.compare({site.pause: find_file(site.pause)}, 1.0)
    assert site.files.state == SiteState(MaintenanceFile(b"closed", ME), 10.0)


def test_a_comparison_is_due_when_a_pause_ends_by_itself(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.at(0.0) == SiteState()
    assert site.files.due_at == math.inf
    site.pause.write_text("30\n")
    site.at(5.0)
    assert site.files.due_at == 5.0 + PAUSE_TIMES * 30.0
    assert site.at(site.files.due_at).pause_seconds is None
    assert site.files.due_at == math.inf
