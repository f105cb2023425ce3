from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from rainbowd.timestamp import timestamp


def test_a_time_has_milliseconds_and_is_in_utc() -> None:
    assert timestamp(datetime(2026, 11, 23, 10, tzinfo=UTC)) == "2026-11-23T10:00:00.000Z"
    east = timezone(timedelta(hours=2))
    assert timestamp(datetime(2026, 11, 23, 10, 0, 1, 999_999, tzinfo=east)) == "2026-11-23T08:00:01.999Z"
