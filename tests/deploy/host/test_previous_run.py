from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.config import load
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.previous_run import PreviousRun
from rainbowd.deploy.host.state_files import MEMORY_NAME, encode_plan
from rainbowd.deploy.process import Leftovers
from rainbowd.deploy.records import DeployMemory, LastOutcome
from rainbowd.report.generation_ids import GenerationIds
from rainbowd.roster import State
from tests.deploy.host.test_state_files import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Site:
    """A state directory that an earlier agent left, and who finds it."""

    def __init__(self, directory: Path) -> None:
        self.state_dir = directory / "state"
        self.state_dir.mkdir()
        file = directory / "rainbowd.json"
        file.write_text('{"run": "now {port}", "warmup": 1, "state_dir": "state"}')
        self.ids = GenerationIds(self.state_dir)
        self.stored_run = PreviousRun(file, load(file), generation_ids=self.ids, ports_in_use=set(), store=self._store)

    def leave(self, number: int, source: dict[str, object] | None) -> None:
        """Put a generation on record, by a config, or by one that is lost."""
        plan = b"" if source is None else encode_plan(source, {"SECRET": "then"})
        then = replace(record(self.state_dir, number), since_seconds=time.monotonic() - 40)
        GenerationFiles(self.state_dir, number).put_on_record(then.encode(), plan)

    def _store(self, name: str, encode: Callable[[], bytes] | None) -> None:
        assert encode is not None
        (self.state_dir / name).write_bytes(encode())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_stored_memory_is_read_again(site: Site) -> None:
    assert site.stored_run.read_memory() == DeployMemory()
    memory = DeployMemory(LastOutcome("d", "failed", "why", 1.5))
    site.stored_run.store_memory(memory)
    assert (site.state_dir / MEMORY_NAME).exists()
    assert site.stored_run.read_memory() == memory


def test_a_generation_is_found_with_what_it_was_launched_by(site: Site) -> None:
    site.leave(3, {"run": "then {port}", "warmup": 2})
    (left,) = site.stored_run.recorded_generations()
    assert (left.id, left.state, left.plan.config.run, left.plan.env_file) == (
        3,
        State.LIVE,
        "then {port}",
        {"SECRET": "then"},
    )
    assert left.for_seconds >= 40
    assert site.ids.next() == 4


def test_the_present_config_counts_if_the_plan_is_lost(site: Site) -> None:
    site.leave(3, None)
    (left,) = site.stored_run.recorded_generations()
    assert (left.plan.config.run, left.plan.env_file) == ("now {port}", {})


def test_a_record_from_the_future_was_written_just_now(site: Site) -> None:
    then = replace(record(site.state_dir), since_seconds=time.monotonic() + 1000)
    GenerationFiles(site.state_dir, 3).put_on_record(then.encode(), b"")
    assert [left.for_seconds for left in site.stored_run.recorded_generations()] == [0.0]


async def test_the_files_of_what_is_on_record_stay_and_others_of_before_go(site: Site) -> None:
    for number in (2, 3):
        GenerationFiles(site.state_dir, number).output.touch()
    site.leave(3, None)
    site.stored_run.recorded_generations()
    GenerationFiles(site.state_dir, site.ids.next()).output.touch()
    await site.stored_run.end_leftovers(Leftovers({}), trio.Event())
    assert [GenerationFiles(site.state_dir, number).output.exists() for number in (2, 3, 4)] == [False, True, True]


def test_what_an_earlier_agent_remembered_is_stored_again_after_the_file_is_gone(site: Site) -> None:
    memory = DeployMemory(LastOutcome("d", "failed", "why", 1.5))
    (site.state_dir / MEMORY_NAME).write_bytes(memory.encode())
    assert site.stored_run.read_memory() == memory
    (site.state_dir / MEMORY_NAME).unlink()
    site.stored_run.store_again()
    assert site.stored_run.read_memory() == memory
