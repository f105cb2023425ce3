from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rainbowd.report.journal import NAME, Journal, encode
from rainbowd.report.tail import LINES_MAX, Tail, parse_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2026, 11, 23, 10, tzinfo=UTC)


class Writer:
    """Writes numbered events, a second apart, into a journal that is rotated every few lines."""

    def __init__(self, state_dir: Path, limit_bytes: int) -> None:
        self._journal = Journal(state_dir / NAME, limit_bytes=limit_bytes)
        self.last = 0

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            self.last += 1
            self._journal.append(encode(f"e{self.last}", START + timedelta(seconds=self.last)))


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path, 200)


@contextlib.contextmanager
def tail(state_dir: Path, after: str | None = None) -> Iterator[Tail]:
    opened = Tail(state_dir, None if after is None else parse_id(after))
    try:
        yield opened
    finally:
        opened.close()


def names(opened: Tail) -> list[str]:
    found = []
    while lines := opened.read():
        found += [line.event for line in lines]
    return found


def numbered(first: int, last: int) -> list[str]:
    return [f"e{number}" for number in range(first, last + 1)]


def test_a_reader_without_a_place_begins_at_the_end(tmp_path: Path, writer: Writer) -> None:
    writer.write(2)
    with tail(tmp_path) as opened:
        assert opened.read() == []
        writer.write()
        assert names(opened) == ["e3"]


def test_a_reader_may_start_before_the_journal_exists(tmp_path: Path, writer: Writer) -> None:
    with tail(tmp_path) as opened:
        assert opened.read() == []
        writer.write(2)
        assert names(opened) == ["e1", "e2"]


def test_a_reader_follows_over_rotations(tmp_path: Path, writer: Writer) -> None:
    with tail(tmp_path) as opened:
        seen = []
        for _ in range(20):
            writer.write()
            seen += names(opened)
    assert (tmp_path / f"{NAME}.3").exists()
    assert seen == numbered(1, 20)


def test_a_reader_that_is_late_goes_through_the_files_that_are_kept(tmp_path: Path, writer: Writer) -> None:
    writer.write()
    with tail(tmp_path) as opened:
        writer.write(8)
        assert (tmp_path / f"{NAME}.2").exists()
        assert names(opened) == numbered(2, 9)


def test_a_reader_whose_file_was_removed_continues_with_the_oldest(tmp_path: Path, writer: Writer) -> None:
    writer.write()
    with tail(tmp_path) as opened:
        writer.write(40)
        seen = names(opened)
    # of its own file it reads what it had not, then what is kept
    skipped_to = next(index for index, name in enumerate(seen) if int(name[1:]) > index + 2)
    assert seen[:skipped_to] == numbered(2, skipped_to + 1)
    assert seen[skipped_to:] == numbered(int(seen[skipped_to][1:]), 41)


@pytest.mark.parametrize("seen", range(1, 9))
def test_a_reader_resumes_after_the_last_event_it_has_read(tmp_path: Path, writer: Writer, seen: int) -> None:
    with tail(tmp_path) as opened:
        writer.write(8)
        ids = [line.id for line in opened.read() + opened.read() + opened.read() + opened.read()]
    assert len(ids) == 8
    writer.write()
    with tail(tmp_path, ids[seen - 1]) as opened:
        assert names(opened) == numbered(seen + 1, 9)


def test_a_reader_resumes_after_a_time(tmp_path: Path, writer: Writer) -> None:
    writer.write(6)
    with tail(tmp_path, "2026-11-23T10:00:03Z") as opened:
        assert names(opened) == numbered(4, 6)
    with tail(tmp_path, "2026-11-23T10:00:03.500Z-00000000") as opened:
        assert names(opened) == numbered(4, 6)
    with tail(tmp_path, "2000-01-01T00:00:00.000Z") as opened:
        assert names(opened) == numbered(1, 6)
    with tail(tmp_path, "2030-01-01T00:00:00.000Z") as opened:
        assert names(opened) == []


def test_two_events_of_one_moment_are_distinguished(tmp_path: Path) -> None:
    journal = Journal(tmp_path / NAME)
    with tail(tmp_path) as opened:
        for name in ("one", "two", "three"):
            journal.append(encode(name, START))
        second = opened.read()[1]
    with tail(tmp_path, second.id) as opened:
        assert names(opened) == ["three"]


def test_a_line_is_read_when_it_is_whole(tmp_path: Path, writer: Writer) -> None:
    writer.write()
    line = encode("later", START)
    with tail(tmp_path) as opened, (tmp_path / NAME).open("ab") as file:
        file.write(line[:9])
        file.flush()
        assert opened.read() == []
        file.write(line[9:])
        file.flush()
        assert names(opened) == ["later"]


def test_a_torn_line_is_passed_over(tmp_path: Path, writer: Writer) -> None:
    writer.write()
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"at": "2026')
    with tail(tmp_path) as opened:
        writer.write()
        assert names(opened) == ["e2"]


def test_a_journal_that_is_emptied_in_its_place_is_read_from_its_beginning(tmp_path: Path, writer: Writer) -> None:
    writer.write(2)
    with tail(tmp_path) as opened:
        (tmp_path / NAME).write_bytes(b"")
        assert opened.read() == []
        writer.write()
        assert names(opened) == ["e3"]


def test_a_reading_is_bounded(tmp_path: Path) -> None:
    journal = Journal(tmp_path / NAME)
    journal.append(b"".join(encode("e", START) for _ in range(LINES_MAX + 1)))
    with tail(tmp_path, "2000-01-01T00:00:00Z") as opened:
        assert [len(opened.read()), len(opened.read())] == [LINES_MAX, 1]


@pytest.mark.parametrize(
    "text", ["", "5", "yesterday", "2026-11-23", "2026-11-23T10:00:00Z-xyz", "٢٠٢٦-11-23T10:00:00Z"]
)
def test_an_invalid_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the id of an event"):
        parse_id(text)
