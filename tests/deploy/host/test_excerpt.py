from __future__ import annotations

import pytest

from rainbowd.deploy.host.excerpt import FIRST_LINES, LAST_LINES, Excerpt


def excerpt(*lines: str) -> list[str]:
    taken = Excerpt()
    for line in lines:
        taken.add(line)
    return taken.lines()


def numbered(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, FIRST_LINES, FIRST_LINES + 1, FIRST_LINES + LAST_LINES])
def test_few_lines_are_all_kept(count: int) -> None:
    assert excerpt(*numbered(count)) == numbered(count)


def test_of_many_lines_the_first_and_the_last_are_kept() -> None:
    lines = numbered(FIRST_LINES + 190 + LAST_LINES)
    assert excerpt(*lines) == [*lines[:FIRST_LINES], "… 190 lines …", *lines[-LAST_LINES:]]


def test_the_cause_of_a_failure_is_not_lost_in_what_health_checks_have_it_write() -> None:
    checks = [f"10:00:{number:02} GET /up 503" for number in range(500)]
    assert excerpt("FATAL: cannot connect to the database", *checks)[0] == "FATAL: cannot connect to the database"


def test_a_line_that_is_repeated_counts_once() -> None:
    assert excerpt("boot", *["GET /up 503"] * 200, "stop", "stop") == [
        "boot",
        "GET /up 503",
        "… this line 199 more times …",
        "stop",
        "stop",
    ]


def test_a_repetition_goes_on_where_the_last_lines_begin() -> None:
    lines = numbered(FIRST_LINES)
    assert excerpt(*lines, *lines[-1:] * 2, "end") == [*lines, "… this line 2 more times …", "end"]


def test_repeated_lines_that_are_left_out_are_all_counted() -> None:
    lines = numbered(FIRST_LINES + LAST_LINES)
    assert excerpt(*lines[:FIRST_LINES], "again", "again", *lines[FIRST_LINES:])[FIRST_LINES] == "… 2 lines …"
