from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from rainbowd import log
from rainbowd.report.generation_ids import GenerationIds
from rainbowd.report.journal import Journal, encode

if TYPE_CHECKING:
    from pathlib import Path


def test_ids_begin_with_one_and_continue_after_those_of_the_last_agent(tmp_path: Path) -> None:
    first = GenerationIds(tmp_path)
    assert [first.next(), first.next()] == [1, 2]
    assert [GenerationIds(tmp_path).next(), GenerationIds(tmp_path).next()] == [3, 4]


@pytest.mark.parametrize("content", [None, b"", b"\0\0", b"seven", b"-4\n", b"9" * 5000])
def test_if_the_last_id_is_lost_the_journal_has_it(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "generation").write_bytes(content)
    journal = Journal(tmp_path / "journal.jsonl", limit_bytes=1)
    for number in (6, 7):
        journal.append(encode("generation.launched", datetime.now(UTC), generation=number))
    journal.append(encode("agent.stopped", datetime.now(UTC)))
    expected = 1 if content == b"-4\n" else 8
    assert GenerationIds(tmp_path).next() == expected


def test_a_number_that_a_file_has_is_not_given_again(tmp_path: Path) -> None:
    (tmp_path / "generation").write_text("3\n")
    for name in ("generation-5.json", "generation-6.out", "generation-x", "generation-99.bak"):
        (tmp_path / name).touch()
    (tmp_path / "generation-7").mkdir()
    assert GenerationIds(tmp_path).next() == 8


def test_an_id_that_cannot_be_saved_is_used_with_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "generation").mkdir()
    numbers = GenerationIds(tmp_path)
    assert [numbers.next(), numbers.next()] == [1, 2]
    assert log.flush(30)
    assert "cannot save the last generation ID" in capfd.readouterr().out
