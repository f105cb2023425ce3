from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rainbowd.deploy.generations.crash_count import CrashCount
from rainbowd.deploy.records import FORMAT, BakeRecord, DeployMemory, GenerationRecord, LastOutcome, NewerFormat
from rainbowd.deploy.watch.file_state import observe
from rainbowd.release_link import LinkChange
from rainbowd.roster import State
from tests.deploy.process import test_process_identity

IDENTITY = replace(test_process_identity.IDENTITY, release="/srv/a\nb\udcff")
RECORD = GenerationRecord(IDENTITY, State.STANDBY, 17.25, 1e9, 1e9 + 3, {4711: 123456, 4712: 123460})


@pytest.mark.parametrize("encoded", [RECORD.encode(), DeployMemory(LastOutcome("d", "failed", "why", 1.5)).encode()])
def test_every_torn_one_is_refused(encoded: bytes) -> None:
    decode = GenerationRecord.decode if encoded == RECORD.encode() else DeployMemory.decode
    for length in range(len(encoded) - 1):
        with pytest.raises(ValueError):  # noqa: PT011 - json's own, or ours
            decode(encoded[:length])


def test_only_a_rollback_is_written_as_one_so_that_older_versions_read_the_rest() -> None:
    assert b"is_rollback" not in DeployMemory(LastOutcome("d", "succeeded", None, 1.5)).encode()
    memory = DeployMemory(LastOutcome("d", "succeeded", None, 1.5, is_rollback=True))
    assert DeployMemory.decode(memory.encode()) == memory


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "4711"},
        {"pid": 0},
        {"more": 1},
        {"state": "happy"},
        {"known": 7},
        {"known": [[1]]},
        {"since_seconds": None},
        {"format": 0},
        {"format": "1"},
        {"format": None},
    ],
)
def test_a_record_with_other_fields_is_refused(change: dict[str, object]) -> None:
    fields = json.loads(RECORD.encode()) | change
    with pytest.raises(ValueError, match=r"\w"):
        GenerationRecord.decode(json.dumps(fields).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"7", b"null", b"\xff", b"[" * 100_000])
def test_a_file_that_is_neither_a_record_nor_a_memory_is_refused(data: bytes) -> None:
    for decode in (GenerationRecord.decode, DeployMemory.decode):
        with pytest.raises(ValueError):  # noqa: PT011 - json's own, or ours
            decode(data)


def test_a_file_of_a_newer_version_is_recognised() -> None:
    fields = {"format": FORMAT + 1, "anything": "else"}
    for decode in (GenerationRecord.decode, DeployMemory.decode):
        with pytest.raises(NewerFormat, match="newer"):
            decode(json.dumps(fields).encode())


def test_a_memory_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("gone")
    (tmp_path / "trigger").touch()
    sight = observe(tmp_path / "current", tmp_path / "trigger")
    crashes = CrashCount(Path("/srv/releases/a"), 3, 2, 1.5, 2.5, "exited with status 1")
    prepared = {"/srv/releases/a": {"hook": ["build"], "identity": [1, 2]}}
    memory = DeployMemory(
        LastOutcome("d", "failed", "why", 1.5), sight, Path("/srv/releases/a"), Path("/srv/b"), crashes, prepared
    )
    assert DeployMemory.decode(memory.encode()) == memory
    assert DeployMemory.decode(DeployMemory().encode()) == DeployMemory()
    os.utime(tmp_path / "trigger", ns=(5, 5))
    assert observe(tmp_path / "current", tmp_path / "trigger") != sight


def test_a_bake_is_read_as_it_was_written_and_by_older_versions_without_what_they_do_not_know(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("gone")
    sight = observe(tmp_path / "current", None)
    change = LinkChange(tmp_path / "current", "gone", (7, 8), 9)
    bake = BakeRecord("d", 2, 1, 100, 3, "api", None, 1.5, "/srv/a", change, sight)
    memory = DeployMemory(bake=bake)
    assert DeployMemory.decode(memory.encode()) == memory
    plain = DeployMemory(bake=BakeRecord("d", 2, 1, 100, 3, "symlink", None, 1.5, None))
    assert DeployMemory.decode(plain.encode()) == plain
    assert not {"link_change", "sight_before"} & json.loads(plain.encode())["bake"].keys()
