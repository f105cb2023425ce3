from __future__ import annotations

import pytest

from rainbowd.config import Bake
from rainbowd.deploy.generations.error_rate import SAMPLES, Counts, RecentCounts, describe_failure, is_failing

BAKE = Bake(seconds=60)


@pytest.mark.parametrize(
    ("case", "new", "before", "fails"),
    [
        ("a healthy release", Counts(1000, 0), Counts(1000, 0), False),
        ("nobody has come yet", Counts(0, 0), Counts(1000, 3), False),
        ("a quiet site at night: four requests, all failed", Counts(4, 4), Counts(0, 0), False),
        ("a quiet site at night: five requests, all failed", Counts(5, 5), Counts(0, 0), True),
        ("a fifth of a hundred", Counts(100, 20), Counts(1000, 0), True),
        ("the fifth error of many", Counts(100, 5), Counts(1000, 0), True),
        ("five errors of very many", Counts(101, 5), Counts(1000, 0), False),
        ("as many errors as before", Counts(100, 20), Counts(1000, 200), False),
        ("nearly twice as many as before", Counts(100, 39), Counts(1000, 200), False),
        ("twice as many as before", Counts(100, 40), Counts(1000, 200), True),
        ("occasional errors as before", Counts(1000, 12), Counts(1000, 10), False),
        ("a site that failed every request before", Counts(50, 50), Counts(50, 50), False),
        ("one failing path of many, rarely requested", Counts(10_000, 100), Counts(10_000, 0), False),
        ("one failing path of many, often requested", Counts(10_000, 600), Counts(10_000, 0), True),
        ("an error burst in the last second", Counts(1000, 50), Counts(1000, 0), True),
        ("no traffic before the switch", Counts(20, 5), Counts(0, 0), True),
    ],
)
def test_a_release_fails_by_number_and_rate_and_in_comparison(
    case: str, new: Counts, before: Counts, fails: bool
) -> None:
    assert is_failing(BAKE, new, before) is fails, case


def test_the_limits_are_those_of_the_config() -> None:
    strict = Bake(seconds=60, max_error_rate=0, min_errors=1)
    assert is_failing(strict, Counts(1000, 1), Counts(1000, 0))
    assert not is_failing(strict, Counts(1000, 0), Counts(1000, 0))
    tolerant = Bake(seconds=60, max_error_rate=1, min_errors=2)
    assert not is_failing(tolerant, Counts(3, 2), Counts())
    assert is_failing(tolerant, Counts(2, 2), Counts())


def test_a_failure_is_described_with_its_numbers_and_its_most_frequent_request() -> None:
    described = describe_failure(
        Counts(80, 17), Counts(1000, 2), where="before the switch", failures={"GET /basket: 500": 9, "GET /: 502": 8}
    )
    expected = "17 of 80 requests failed (21 %; 0.2 % before the switch), most of them GET /basket: 500"
    assert described == expected


def test_half_of_the_errors_are_not_most_of_them() -> None:
    failures = {"GET /a: 500": 3, "GET /b: 500": 3}
    described = describe_failure(Counts(6, 6), Counts(), where="before the switch", failures=failures)
    assert described == "6 of 6 requests failed (100 %; 0 % before the switch), most often GET /a: 500"


def test_errors_without_a_request_are_described_by_their_numbers() -> None:
    described = describe_failure(Counts(8, 1), Counts(16, 1), where="before the switch", failures={})
    assert described == "1 of 8 requests failed (12 %; 6.2 % before the switch)"


def test_the_counts_of_the_last_seconds_leave_out_what_was_before() -> None:
    recent = RecentCounts(60)
    for second in range(101):
        recent.add(float(second), Counts(10 * second, 0 if second < 50 else second - 50))
    assert recent.over(10, 100.0, Counts(1000, 50)) == Counts(100, 10)
    assert recent.over(60, 100.0, Counts(1000, 50)) == Counts(600, 50)


def test_a_generation_that_was_live_for_a_shorter_time_is_counted_whole() -> None:
    recent = RecentCounts(60)
    assert recent.over(60, 5.0, Counts(7, 1)) == Counts(7, 1)
    recent.add(4.0, Counts(3, 0))
    assert recent.over(60, 5.0, Counts(7, 1)) == Counts(4, 1)


@pytest.mark.parametrize("seconds", [5, 60, 3600])
def test_a_week_of_samples_is_kept_in_little_memory(seconds: float) -> None:
    recent = RecentCounts(seconds)
    for second in range(24 * 3600):
        recent.add(float(second), Counts(second, 0))
    now = 24 * 3600.0
    assert len(recent._samples) <= SAMPLES + 2
    assert seconds <= recent.over(seconds, now, Counts(int(now))).requests <= seconds * (1 + 2 / SAMPLES) + 2
