"""The table shows the results, relative to nginx if nginx was measured."""

from __future__ import annotations

import re

import pytest

from bench.goals import verdicts
from bench.results import Results, Row
from bench.table import number, table

CPU = Row("cpu.browser.32", "CPU a request", "µs")
BESIDE = Row("beside.p50", "p50 with 10,000 idle / with none", "x")


def results(*peers: str) -> Results:
    found = Results(list(peers))
    for place, peer in enumerate(peers, 1):
        for turn in range(3):
            found.put(CPU, peer, turn, 10.0 * place + turn)
            found.put(BESIDE, peer, turn, 1.0 + place / 10)
    return found


def test_peers_are_ratios_to_nginx_which_is_in_units() -> None:
    cpu = table(results("nginx", "rainbowd")).splitlines()[1]
    assert re.split(" {2,}", cpu) == ["CPU a request, µs", "11.0 (10.0-12.0)", "1.91x (1.83-2.00)"]


def test_without_nginx_all_are_in_units() -> None:
    found = table(results("rainbowd", "haproxy"))
    assert "21.0 (20.0-22.0)" in found
    assert "nginx" not in found


def test_a_ratio_within_a_peer_is_not_compared_again() -> None:
    assert "1.20x (1.20-1.20)" in table(results("nginx", "rainbowd")).splitlines()[2]


def test_what_nginx_has_no_part_in_is_in_units() -> None:
    found = results("nginx", "rainbowd")
    found.put(Row("workers.memory", "memory of one further worker", "KiB"), "rainbowd", 0, 30_000.0)
    assert re.split(" {2,}", table(found).splitlines()[3])[1:] == ["-", "30000 (30000-30000)"]


def test_columns_line_up() -> None:
    lines = table(results("rainbowd", "nginx", "aiohttp")).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_what_was_not_measured_is_a_dash() -> None:
    found = results("rainbowd", "nginx")
    found.peers.append("undici")
    assert all(line.endswith(" -") for line in table(found).splitlines()[1:])


def test_a_pace_that_the_load_set_is_marked() -> None:
    found = results("rainbowd", "nginx")
    found.limited.add("cpu.browser.32 nginx")
    assert "21.0 (20.0-22.0)+" in table(found)


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1234"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (-0.4, "-0.40")]
)
def test_numbers_have_three_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text


def test_goals_are_judged_where_they_were_measured() -> None:
    lines = verdicts(results("rainbowd", "nginx")).splitlines()
    assert lines == [
        "met     rainbowd: CPU a request <= 3 of nginx's: 0.52 (0.50-0.55)",
        "met     rainbowd: p50 with 10,000 idle / with none <= 1.1: 1.10 (1.10-1.10)",
    ]


def test_a_goal_that_is_missed_is_said_to_be() -> None:
    found = results("nginx", "aiohttp", "haproxy", "http-proxy", "rainbowd")
    assert "missed  rainbowd: CPU a request <= 3 of nginx's: 4.64 (4.33-5.00)" in verdicts(found).splitlines()


def test_the_compiled_version_has_goals_of_its_own() -> None:
    found = results("nginx", "rainbowd-compiled")
    assert verdicts(found) == "missed  rainbowd-compiled: CPU a request <= 1.8 of nginx's: 1.91 (1.83-2.00)"
