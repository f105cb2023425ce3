from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.state_files import (
    MEMORY_NAME,
    clear_all_but,
    encode_plan,
    read_memory,
    read_plan,
    read_records,
    read_undecided,
)
from rainbowd.deploy.process import LaunchMarks
from rainbowd.deploy.process.process_identity import boot_id
from rainbowd.deploy.records import FORMAT, DeployMemory, GenerationRecord
from rainbowd.roster import State
from tests.deploy.test_records import RECORD


def record(state_dir: Path, number: int = 3) -> GenerationRecord:
    identity = replace(RECORD.identity, state_dir=str(state_dir), generation=number, boot_id=boot_id())
    return replace(RECORD, identity=identity, state=State.LIVE)


def test_records_are_found_by_their_number(tmp_path: Path) -> None:
    for number in (3, 12):
        GenerationFiles(tmp_path, number).put_on_record(record(tmp_path, number).encode(), b"")
    assert read_records(tmp_path) == {3: record(tmp_path), 12: record(tmp_path, 12)}


def test_a_file_that_is_no_record_of_this_state_directory_is_ignored(tmp_path: Path) -> None:
    good = record(tmp_path).encode()
    elsewhere = replace(record(tmp_path), identity=replace(record(tmp_path).identity, state_dir="/elsewhere"))
    nowhere = replace(record(tmp_path), identity=replace(record(tmp_path).identity, address="nowhere"))
    newer = json.dumps({**json.loads(good), "format": FORMAT + 1}).encode()
    for number, data in enumerate([b"", good[:100], b"[]", elsewhere.encode(), nowhere.encode(), newer], 20):
        GenerationFiles(tmp_path, number).record.write_bytes(
            data.replace(b'"generation": 3', b'"generation": %d' % number)
        )
    GenerationFiles(tmp_path, 4).record.write_bytes(good)  # another's number
    GenerationFiles(tmp_path, 5).record.mkdir()
    (tmp_path / "precious").write_bytes(good.replace(b'"generation": 3', b'"generation": 6'))
    GenerationFiles(tmp_path, 6).record.symlink_to(tmp_path / "precious")
    assert read_records(tmp_path) == {}


def test_a_record_of_another_boot_does_not_count(tmp_path: Path) -> None:
    old = replace(record(tmp_path), identity=replace(record(tmp_path).identity, boot_id="another"))
    GenerationFiles(tmp_path, 3).put_on_record(old.encode(), b"")
    assert read_records(tmp_path) == {}


def test_files_without_a_record_are_removed_and_all_others_stay(tmp_path: Path) -> None:
    for number in (1, 2):
        place = GenerationFiles(tmp_path, number)
        place.make()
        place.put_on_record(b"x", b"y")
        place.pidfile.write_text("1")
    (tmp_path / "generation-2.json.new").write_text("torn")
    for name in ("generation", "generation-x", "journal.jsonl", "generation-1.json.bak"):
        (tmp_path / name).touch()
    clear_all_but(tmp_path, {1}, 2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "generation",
        "generation-1",
        "generation-1.json",
        "generation-1.json.bak",
        "generation-1.plan",
        "generation-x",
        "journal.jsonl",
    ]


def test_a_plan_is_read_as_it_was_written_and_a_lost_one_is_none(tmp_path: Path) -> None:
    source = {"run": ["app", "{port}"], "warmup": 1, "env": {"A": "b"}, "standby": 7}
    path = tmp_path / "plan"
    marks = LaunchMarks(33, "5ec7e7", Path("/sys/fs/cgroup/app/generation-3-4711"))
    path.write_bytes(encode_plan(source, {"SECRET": "x"}, marks))
    found = read_plan(path, tmp_path / "rainbowd.json")
    assert found is not None
    assert (found.config.standby, found.config.env) == (7, {"A": "b"})
    assert (found.source, found.env_file) == (source, {"SECRET": "x"})
    assert found.marks == marks
    broken = [b"", b"{}", b"[1]", encode_plan({"run": 7}, {}), encode_plan(None, {}), encode_plan(source, 7)]
    for data in broken:
        path.write_bytes(data)
        assert read_plan(path, tmp_path / "rainbowd.json") is None
    path.unlink()
    assert read_plan(path, tmp_path / "rainbowd.json") is None


@pytest.mark.parametrize("data", [None, b"", b"{", b'{"format": 99}', DeployMemory().encode()])
def test_a_memory_that_is_lost_is_an_empty_one(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / MEMORY_NAME).write_bytes(data)
    assert read_memory(tmp_path) == DeployMemory()


def test_the_journal_tells_what_was_begun_and_not_ended(tmp_path: Path) -> None:
    events = [
        {"event": "deploy.requested", "deploy": "a"},
        {"event": "generation.launched", "generation": 1, "release": "/a"},
        {"event": "deploy.succeeded", "deploy": "a"},
        {"event": "deploy.requested", "deploy": "b", "release": "/b"},
        {"event": "generation.launched", "generation": 2, "release": "/b"},
        {"event": "generation.retired", "generation": 1},
        {"event": "deploy.requested", "deploy": ["odd"]},
    ]
    (tmp_path / "journal.jsonl").write_text(
        "".join(json.dumps(event) + "\n" for event in events if "odd" not in str(event))
    )
    found = read_undecided(tmp_path, 2)
    assert list(found.deploys) == ["b"]
    assert found.generations == {2: "/b"}
