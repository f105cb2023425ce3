"""``decide`` under stale views, crashes, partitions, pauses and aborts; and three mutations that this must catch."""

from __future__ import annotations

import collections
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rainbowd.fleet.decide import decide
from rainbowd.fleet.models import State, Turn
from tests.fleet.simulation import Broken, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.fleet.view import Decision, View

SEEDS = 12
HUNDREDS = int(os.environ.get("ROLLOUT_HUNDREDS", "1"))
"""The mutations are found within the first 60 rollouts."""
CAUGHT_WITHIN = 60


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_rollout_comes_to_rest_within_its_limits(seed: int) -> None:
    assert Simulation(seed).run()["commits"] > 0


@pytest.mark.long
@pytest.mark.parametrize("hundred", range(HUNDREDS))
def test_hundreds_of_rollouts_come_to_rest_and_reach_every_outcome(hundred: int) -> None:
    counts: collections.Counter[str] = collections.Counter()
    for seed in range(1000 + 100 * hundred, 1100 + 100 * hundred):
        counts += Simulation(seed).run()
    assert counts.keys() >= {"succeeded", "rolled_back", "halted", "failed"}


def test_a_blind_commit_is_caught() -> None:
    assert _caught(lambda seed: Simulation(seed, is_guarded=False))


def test_a_limit_that_is_off_by_one_is_caught() -> None:
    def one_more(view: View) -> Decision:
        order = view.order and view.order.model_copy(update={"parallel": view.order.parallel + 1})
        return decide(replace(view, order=order))

    assert _caught(lambda seed: Simulation(seed, one_more))


def _caught(simulation: Callable[[int], Simulation]) -> bool:
    for seed in range(CAUGHT_WITHIN):
        try:
            simulation(seed).run()
        except Broken:
            return True
    return False


def test_a_way_back_that_ends_before_everyone_is_back_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turn, "must_go_back", property(lambda turn: turn.state is State.LIVE))
    assert _caught(Simulation)
