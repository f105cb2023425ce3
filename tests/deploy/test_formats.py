"""A newer agent reads what an older one wrote; an older one does not guess at what a newer one wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rainbowd.deploy import records
from rainbowd.deploy.host import state_files
from rainbowd.deploy.host.state_files import PLAN_FORMAT, encode_plan, read_memory, read_plan
from rainbowd.deploy.records import DeployMemory, GenerationRecord, LastOutcome
from rainbowd.deploy.watch.file_state import FileState, Stamp
from rainbowd.log import flush
from rainbowd.report import status
from tests.deploy.test_records import RECORD
from tests.formats import FORMATS, written

SIGHT = FileState(
    release=Path("/srv/releases/b"),
    problem="gone",
    link=Stamp(11, 1700000000000000001, 10),
    link_owner=1000,
    trigger=(Stamp(12, 1700000000000000002, 5),),
    trigger_owner=0,
)
MEMORY = DeployMemory(LastOutcome("1f0e8a4c5b2d", "failed", "why", 1e9), SIGHT, Path("/srv/releases/a"))
SOURCE = {"run": ["app", "{port}"], "health": "/up", "env": {"A": "b"}, "standby": 7}


@pytest.mark.parametrize("version", FORMATS)
def test_every_format_that_was_ever_written_is_read(version: int) -> None:
    assert GenerationRecord.decode(written(version, "generation-3.json").read_bytes()) == RECORD
    assert DeployMemory.decode(written(version, "deploys.json").read_bytes()) == MEMORY
    plan = read_plan(written(version, "generation-3.plan"), Path("/srv/rainbowd.json"))
    assert plan is not None
    assert (plan.config.standby, plan.source, plan.env_file) == (7, SOURCE, {"SECRET": "x"})
    assert plan.marks is None
    told = status.read(written(version, "status.json").parent)
    assert told is not None
    assert told["live"] == 3


def test_what_is_written_now_is_kept_with_the_others() -> None:
    assert written(records.FORMAT, "generation-3.json").read_bytes() == RECORD.encode()
    assert written(records.FORMAT, "deploys.json").read_bytes() == MEMORY.encode()
    assert written(PLAN_FORMAT, "generation-3.plan").read_bytes() == encode_plan(SOURCE, {"SECRET": "x"})
    assert json.loads(written(status.FORMAT, "status.json").read_bytes())["format"] == status.FORMAT


@pytest.mark.parametrize("name", [state_files.MEMORY_NAME, "generation-3.plan"])
def test_files_of_a_newer_version_are_skipped_and_reported_with_what_to_do(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_text('{"format": 99, "anything": "else"}')
    if name == state_files.MEMORY_NAME:
        assert read_memory(tmp_path) == DeployMemory()
    else:
        assert read_plan(file, tmp_path / "rainbowd.json") is None
    assert flush(1)
    said = capfd.readouterr().out
    assert "of format 99, written by a newer rainbowd; this one reads 1" in said
    assert "hint=" in said
