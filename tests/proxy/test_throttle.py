"""The limit on reports that repeat."""

from __future__ import annotations

from rainbowd.proxy.throttle import Throttle


def test_one_report_passes_in_each_interval() -> None:
    hourly = Throttle(3600.0)
    assert [hourly.try_pass() for _ in range(3)] == [True, False, False]


def test_reports_pass_again_after_the_interval() -> None:
    always = Throttle(-1.0)
    assert [always.try_pass() for _ in range(2)] == [True, True]
