"""Rounds stay side by side, and a run can be read again from its JSON."""

from __future__ import annotations

import pytest

from bench.machine import BenchError
from bench.results import Results, Row, Spread, from_json, to_json

COST = Row("cpu", "CPU a request", "µs")


def results() -> Results:
    found = Results(["rainbowd", "nginx"])
    for turn, (ours, theirs) in enumerate([(30.0, 10.0), (80.0, 20.0), (20.0, 10.0)]):
        found.put(COST, "rainbowd", turn, ours)
        found.put(COST, "nginx", turn, theirs, limited=turn == 1)
    return found


def test_a_spread_is_median_least_and_most() -> None:
    assert results().spread("cpu", "rainbowd") == Spread(30.0, 20.0, 80.0)


def test_a_ratio_is_of_values_of_the_same_round() -> None:
    assert results().ratio("cpu", "rainbowd", "cpu", "nginx") == Spread(3.0, 2.0, 4.0)


def test_a_round_that_failed_is_left_out_and_moves_no_other() -> None:
    found = Results(["rainbowd", "nginx"])
    found.put(COST, "rainbowd", 0, 10.0)
    found.put(COST, "rainbowd", 2, 30.0)
    for turn, theirs in enumerate([10.0, 1.0, 10.0]):
        found.put(COST, "nginx", turn, theirs)
    assert found.ratio("cpu", "rainbowd", "cpu", "nginx") == Spread(2.0, 1.0, 3.0)


def test_a_last_round_that_failed_is_left_out() -> None:
    found = results()
    found.put(COST, "nginx", 3, 10.0)
    assert found.ratio("cpu", "rainbowd", "cpu", "nginx") == Spread(3.0, 2.0, 4.0)


def test_what_was_not_measured_is_none() -> None:
    assert results().spread("cpu", "haproxy") is None
    assert results().ratio("cpu", "rainbowd", "p50", "nginx") is None


def test_a_base_of_nothing_gives_no_ratio() -> None:
    found = Results(["rainbowd", "nginx"])
    found.put(COST, "rainbowd", 0, 10.0)
    found.put(COST, "nginx", 0, 0.0)
    assert found.ratio("cpu", "rainbowd", "cpu", "nginx") is None


def test_json_holds_all_of_it() -> None:
    found = results()
    found.facts["kernel"] = "6.1"
    found.failures.append("haproxy: does not listen")
    assert from_json(to_json(found)) == found


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [], "limited": [], "peers": [], "colour": 1}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="not a run's JSON"):
        from_json(text)
