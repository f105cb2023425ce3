from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from rainbowd.deploy.watch.regular_file import find_files
from rainbowd.deploy.watch.restart_file import RestartFile, RestartRequest
from rainbowd.permissions import user_name

if TYPE_CHECKING:
    from pathlib import Path

ME = user_name(os.geteuid())


class Watched:
    """A file with a request, and what was reported of it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "redeploy.trigger.restart"
        self.reported: list[RestartRequest] = []
        self.file = RestartFile(self.path, self.reported.append)

    def request(self, process: object, request_id: object = "1") -> None:
        new = self.path.with_name("new")
        new.write_text(json.dumps({"restart": process, "request": request_id}))
        new.rename(self.path)

    def compare(self) -> list[RestartRequest]:
        self.file.compare(find_files(self.file.paths), 0.0)
        return self.reported


def test_a_request_is_reported_once_with_the_owner_of_the_file(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.compare() == []
    watched.request("worker")
    assert watched.compare() == [RestartRequest("worker", "1", ME)]
    assert len(watched.compare()) == 1


def test_a_request_that_is_written_again_is_the_same_and_another_is_not(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.compare()
    for request_id in ("1", "1", "2"):
        watched.request("worker", request_id)
        watched.compare()
    assert [request.id for request in watched.reported] == ["1", "2"]


def test_what_an_earlier_agent_has_seen_is_not_reported_until_it_is_written_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.request("worker")
    assert watched.compare() == []
    watched.request("worker")
    assert watched.compare() == [RestartRequest("worker", "1", ME)]


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "directory"])
def test_a_file_that_is_not_safe_to_read_has_no_request(tmp_path: Path, kind: str) -> None:
    watched, other = Watched(tmp_path), tmp_path / "other"
    watched.compare()
    other.write_text(json.dumps({"restart": "worker", "request": "1"}))
    if kind == "symlink":
        watched.path.symlink_to(other)
    elif kind == "hard link":
        watched.path.hardlink_to(other)
    elif kind == "fifo":
        os.mkfifo(watched.path)
    else:
        watched.path.mkdir()
    assert watched.compare() == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"worker"', b'{"restart": "worker"}', b'{"request": "1"}', b"\xff"]
)
def test_content_that_is_no_request_is_none(tmp_path: Path, content: bytes) -> None:
    watched = Watched(tmp_path)
    watched.compare()
    watched.path.write_bytes(content)
    assert watched.compare() == []


@pytest.mark.parametrize("value", [1, None, [], {}, ""])
def test_a_name_or_an_id_that_is_no_text_is_no_request(tmp_path: Path, value: object) -> None:
    watched = Watched(tmp_path)
    watched.compare()
    watched.request(value)
    watched.compare()
    watched.request("worker", value)
    assert watched.compare() == []


def test_control_characters_are_escaped(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.compare()
    watched.request("a\x1b[2J", "b\n")
    assert watched.compare() == [RestartRequest("a\\x1b[2J", "b\\n", ME)]
