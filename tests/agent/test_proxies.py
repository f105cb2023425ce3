from __future__ import annotations

import os

import pytest

from rainbowd.agent.proxies import AUTO_MAX, count_processes


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 2), (64, AUTO_MAX)])
def test_auto_is_one_process_for_each_core_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert count_processes("auto") == processes


def test_a_number_is_taken_as_it_is() -> None:
    assert count_processes(64) == 64
