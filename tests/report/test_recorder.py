from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd import log
from rainbowd.report import recorder, state_dir, status
from rainbowd.report.journal import Journal, encode, read_events
from rainbowd.report.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PATIENCE_SECONDS = 60.0
LINE_BYTES = len(encode("e", datetime.now(UTC), number=10))


@contextlib.asynccontextmanager
async def running(keeping: Recorder) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(keeping.run)
        yield
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - of files
            await trio.sleep(0.002)


def publish(keeping: Recorder, current: dict[str, object]) -> None:
    keeping.status_source = lambda: current
    keeping.status_changed()


def numbers(directory: Path) -> list[object]:
    return [event["number"] for event in read_events(directory)]


@pytest.fixture
def prompt_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "RETRY_SECONDS", 0.005)


async def test_events_and_the_latest_status_are_written_while_it_runs(tmp_path: Path) -> None:
    keeping = Recorder(tmp_path)
    keeping.record("before", number=0)
    async with running(keeping):
        for number in range(1, 100):
            keeping.record("e", number=number, release=tmp_path)
            publish(keeping, {"number": number})
        await until(lambda: status.read(tmp_path) == {"format": 1, "number": 99})
        await until(lambda: numbers(tmp_path) == list(range(100)))
        keeping.record("e", number=100)
        await until(lambda: numbers(tmp_path)[-1] == 100)
    times = [str(event["at"]) for event in read_events(tmp_path)]
    assert times == sorted(times)


async def test_an_event_just_before_the_end_is_written(tmp_path: Path) -> None:
    keeping = Recorder(tmp_path)
    async with running(keeping):
        keeping.record("e", number=1)
        await until(lambda: numbers(tmp_path))
        keeping.record("e", number=2)
        publish(keeping, {"number": 2})
    assert numbers(tmp_path) == [1, 2]
    assert status.read(tmp_path) == {"format": 1, "number": 2}


async def test_a_reader_of_an_event_finds_a_status_that_is_not_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Journal.append
    found: list[object] = []

    def look_and_append(journal: Journal, line: bytes) -> None:
        found.append(status.read(tmp_path))
        append(journal, line)

    monkeypatch.setattr(Journal, "append", look_and_append)
    keeping = Recorder(tmp_path)
    keeping.record("e", number=1)
    publish(keeping, {"number": 1})
    async with running(keeping):
        pass
    assert found == [{"format": 1, "number": 1}]


async def test_files_that_cannot_be_written_are_logged_once_and_written_later_in_order(
    tmp_path: Path, prompt_retries: None, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("journal.jsonl", "status.json"):
        (tmp_path / name).mkdir()
    keeping = Recorder(tmp_path)
    async with running(keeping):
        for number in (1, 2):
            keeping.record("e", number=number)
            publish(keeping, {"number": number})
            await until(lambda: len(keeping._failing) == 2)
        for name in ("journal.jsonl", "status.json"):
            (tmp_path / name).rmdir()
        await until(lambda: (tmp_path / "journal.jsonl").exists() and numbers(tmp_path) == [1, 2])
        await until(lambda: (tmp_path / "status.json").exists() and not keeping._failing)
    assert status.read(tmp_path) == {"format": 1, "number": 2}
    assert log.flush(PATIENCE_SECONDS)
    said = capfd.readouterr().out
    assert said.count("cannot write a file") == 2
    assert said.count("can be written again") == 2


async def test_a_directory_that_is_removed_before_the_end_is_not_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keeping = Recorder(tmp_path / "gone")
    async with running(keeping):
        keeping.record("e")
        publish(keeping, {})
    assert log.flush(PATIENCE_SECONDS)
    assert capfd.readouterr().out.count("No such file") == 2


@pytest.mark.parametrize(("limit", "size"), [("LINES_MAX", 10), ("BYTES_MAX", 10 * LINE_BYTES)])
async def test_the_queue_is_bounded_and_lost_events_are_counted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    limit: str,
    size: int,
) -> None:
    monkeypatch.setattr(recorder, limit, size)
    keeping = Recorder(tmp_path)
    for number in range(10, 60):
        keeping.record("e", number=number)
    async with running(keeping):
        await until(lambda: len(numbers(tmp_path)) >= 10)
        await until(lambda: not keeping._lines)
        keeping.record("e", number=60)
    assert numbers(tmp_path) == [*range(10, 20), 60]
    assert log.flush(PATIENCE_SECONDS)
    assert "events=40" in capfd.readouterr().out


async def test_a_hanging_disk_blocks_no_caller_and_the_end_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "LAST_SECONDS", 0.01)
    hangs, works = threading.Event(), threading.Event()

    def hang(_journal: Journal, _line: bytes) -> None:
        hangs.set()
        works.wait(PATIENCE_SECONDS)

    monkeypatch.setattr(Journal, "append", hang)
    keeping = Recorder(tmp_path)
    try:
        with trio.fail_after(PATIENCE_SECONDS / 2):
            async with running(keeping):
                keeping.record("e")
                await until(hangs.is_set)
                for _ in range(3 * recorder.LINES_MAX):
                    keeping.record("e")
                assert len(keeping._lines) == recorder.LINES_MAX
    finally:
        works.set()


async def test_the_status_is_written_first_in_its_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[object] = []

    def look_and_replace(path: Path, data: bytes) -> None:
        found.append(status.read(tmp_path))
        state_dir.replace_file(path, data)

    monkeypatch.setattr(recorder, "replace_file", look_and_replace)
    keeping = Recorder(tmp_path)
    keeping.store("generation-1.json", b"live".strip)
    publish(keeping, {"live": 1})
    async with running(keeping):
        pass
    assert found == [{"format": 1, "live": 1}]


async def test_an_answer_waits_until_its_events_are_in_the_files(tmp_path: Path) -> None:
    keeping = Recorder(tmp_path)
    async with running(keeping):
        for number in range(20):
            keeping.record("e", number=number)
            publish(keeping, {"number": number})
            await keeping.settle()
            assert numbers(tmp_path)[-1] == number
            assert status.read(tmp_path) == {"format": 1, "number": number}


async def test_an_answer_waits_no_longer_than_that_for_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorder, "SETTLE_SECONDS", 0.05)
    (tmp_path / "journal.jsonl").mkdir()
    keeping = Recorder(tmp_path)
    async with running(keeping):
        keeping.record("e", number=1)
        await keeping.settle()
        (tmp_path / "journal.jsonl").rmdir()
    assert log.flush(PATIENCE_SECONDS)
    assert "before the files are up to date" in capfd.readouterr().out


async def test_a_file_that_cannot_be_written_is_a_warning_of_the_status(tmp_path: Path, prompt_retries: None) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    keeping = Recorder(tmp_path)
    other = {"kind": "other", "text": "x"}

    def warned() -> object:
        found = status.read(tmp_path)
        return None if found is None else found["warnings"]

    async with running(keeping):
        keeping.record("e", number=1)
        publish(keeping, {"warnings": [other]})
        text = "cannot write journal.jsonl in the state directory: Is a directory"
        await until(lambda: warned() == [other, {"kind": "disk", "text": text}])
        (tmp_path / "journal.jsonl").rmdir()
        await until(lambda: warned() == [other])
