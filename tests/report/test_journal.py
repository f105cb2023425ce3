from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import rainbowd
from rainbowd.errors import RainbowdError
from rainbowd.report import journal
from rainbowd.report.journal import Journal, encode, read_events

ROOT = Path(rainbowd.__file__).parents[1]
AT = datetime(2026, 11, 23, 15, 4, 5, 123_456, UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def line(number: int) -> bytes:
    return encode("e", AT, number=number)


def numbers(state_dir: Path) -> list[object]:
    return [event["number"] for event in read_events(state_dir)]


# --- a line -----------------------------------------------------------------------------------------------


def test_an_event_is_one_line_with_time_name_generation_and_release_first() -> None:
    encoded = encode("generation.live", AT, boot_seconds=0.5, release=Path("/srv/v1"), generation=3)
    assert encoded == (
        b'{"at": "2026-11-23T15:04:05.123Z", "event": "generation.live", "generation": 3, '
        b'"release": "/srv/v1", "boot_seconds": 0.5}\n'
    )


def test_a_time_of_another_zone_is_written_in_utc() -> None:
    there = AT.astimezone(timezone(timedelta(hours=-3, minutes=-30)))
    assert json.loads(encode("e", there))["at"] == "2026-11-23T15:04:05.123Z"


def test_a_whole_second_has_its_milliseconds_too() -> None:
    assert json.loads(encode("e", AT.replace(microsecond=0)))["at"] == "2026-11-23T15:04:05.000Z"


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\u2028", "caf\u00e9", "\udc80"])
def test_any_text_is_one_line_of_ascii_and_comes_back(text: str) -> None:
    encoded = encode("e", AT, text=text)
    assert encoded.count(b"\n") == 1
    assert encoded.decode("ascii").strip().isprintable()
    assert json.loads(encoded)["text"] == text


# --- the file ---------------------------------------------------------------------------------------------


def test_lines_are_appended_to_the_existing_file(tmp_path: Path, file: Path) -> None:
    Journal(file).append(line(1))
    Journal(file).append(line(2))
    assert numbers(tmp_path) == [1, 2]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_last_line_without_an_end_costs_none_of_the_next(tmp_path: Path, file: Path) -> None:
    file.write_bytes(line(1) + line(2)[:-9])
    Journal(file).append(line(3))
    assert numbers(tmp_path) == [1, 3]


def test_a_line_that_lacks_nothing_but_its_end_is_kept(tmp_path: Path, file: Path) -> None:
    file.write_bytes(line(1).rstrip())
    Journal(file).append(line(2))
    assert numbers(tmp_path) == [1, 2]


def test_a_line_that_a_full_disk_cut_off_can_be_appended_again(tmp_path: Path, file: Path) -> None:
    code = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from rainbowd.report.journal import Journal, encode
journal = Journal(Path(sys.argv[1]))
first, second = (encode("e", datetime.now(UTC), number=number) for number in (1, 2))
journal.append(first)
resource.setrlimit(resource.RLIMIT_FSIZE, (len(first) + 10, resource.RLIM_INFINITY))
try:
    journal.append(second)
except OSError as error:
    print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(second)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, file],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout == b"File too large\n"
    assert numbers(tmp_path) == [1, 2]
    assert file.read_bytes().count(b"\n") == 2, "nothing of what was cut off is left"


def test_a_removed_file_is_created_again(tmp_path: Path, file: Path) -> None:
    writing = Journal(file)
    writing.append(line(1))
    file.unlink()
    writing.append(line(2))
    assert numbers(tmp_path) == [2]


def test_a_link_is_not_followed(tmp_path: Path, file: Path) -> None:
    file.symlink_to("other")
    with pytest.raises(OSError, match="symbolic links"):
        Journal(file).append(line(1))
    assert not (tmp_path / "other").exists()


def test_a_full_file_is_rotated_and_three_are_kept(tmp_path: Path, file: Path) -> None:
    writing = Journal(file, limit_bytes=len(line(10)) * 2)
    for number in range(10, 21):
        writing.append(line(number))
    assert {path.name for path in tmp_path.iterdir()} == {file.name, *(f"{file.name}.{n}" for n in (1, 2, 3))}
    assert file.read_bytes() == line(20)
    assert file.with_name("journal.jsonl.1").read_bytes() == line(18) + line(19)
    assert numbers(tmp_path) == [14, 15, 16, 17, 18, 19, 20]


def test_a_line_longer_than_the_limit_is_written_and_empties_nothing(tmp_path: Path, file: Path) -> None:
    writing = Journal(file, limit_bytes=10)
    writing.append(line(1))
    writing.append(line(2))
    assert numbers(tmp_path) == [1, 2]


# --- reading ----------------------------------------------------------------------------------------------


def test_no_journal_has_no_events(tmp_path: Path) -> None:
    assert numbers(tmp_path) == []


def test_a_line_that_is_not_an_event_is_skipped(tmp_path: Path, file: Path) -> None:
    garbage = [
        b"",
        b"\0\0\0",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"{}",
        b'{"event": 3}',
        b"[" * 100_000,
        b"9" * 5000,
        b'{"event"',
    ]
    file.write_bytes(line(1) + b"\n".join(garbage) + b"\n" + line(2) + line(3)[:-5])
    assert numbers(tmp_path) == [1, 2]


def test_only_events_with_the_requested_names_are_read(tmp_path: Path, file: Path) -> None:
    for name in ("deploy.requested", "generation.live", "deploy.succeeded"):
        Journal(file).append(encode(name, AT, note='of "deploy.failed" and "generation.live"'))
    names = [[event["event"] for event in read_events(tmp_path, begins)] for begins in ("deploy.", "generation.live")]
    assert names == [["deploy.requested", "deploy.succeeded"], ["generation.live"]]


def test_a_rotation_while_it_is_read_hides_nothing_and_shows_nothing_twice(tmp_path: Path, file: Path) -> None:
    writing = Journal(file, limit_bytes=len(line(1)))
    for number in range(1, 5):
        writing.append(line(number))
    events = read_events(tmp_path)
    seen = [next(events)["number"]]
    writing.append(line(5))
    assert seen + [event["number"] for event in events] == [1, 2, 3, 4]


@pytest.mark.parametrize("moment", [0, 1, 2, 3])
def test_a_rotation_while_files_are_opened_hides_nothing_and_shows_nothing_twice(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    writing = Journal(file, limit_bytes=len(line(1)))
    for number in range(1, 4):
        writing.append(line(number))
    name_of = journal._rotated
    asked: list[int] = []

    def rotated(path: Path, older: int) -> Path:
        if older == moment and not asked:
            asked.append(older)
            writing.append(line(4))
        return name_of(path, older)

    monkeypatch.setattr(journal, "_rotated", rotated)
    assert numbers(tmp_path) in ([1, 2, 3], [1, 2, 3, 4])
    assert asked


def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path, file: Path) -> None:
    file.mkdir()
    with pytest.raises(RainbowdError, match=f"{file}: cannot be read: Is a directory"):
        numbers(tmp_path)
