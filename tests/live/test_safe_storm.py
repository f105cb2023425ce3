from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live import safe_storm, storm
from tests.live.safe_storm import Visits, misjudged_tunnels, misled
from tests.live.traffic import Tunnel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.agent import Event


def event(name: str, second: int, generation: int) -> Event:
    return {"event": f"generation.{name}", "at": f"2026-01-01T00:00:{second:02}.000Z", "generation": generation}


ROLLED_BACK = [
    event("live", 0, 1),
    event("canary", 10, 2),
    event("canary", 15, 2),
    event("live", 20, 2),
    event("live", 40, 1),
    event("draining", 40, 2),
]
EPOCH = storm.at(ROLLED_BACK[0])


@pytest.mark.parametrize(
    ("generation", "second", "is_misled"),
    [
        (1, 5, False),
        (1, 15, False),
        (1, 30, True),
        (1, 45, False),
        (2, 5, True),
        (2, 12, False),
        (2, 41, True),
        (3, 5, True),
    ],
)
def test_only_a_generation_that_gets_requests_may_answer_them(generation: int, second: int, is_misled: bool) -> None:
    traffic = Visits("", 0, answers=[("fresh", EPOCH + second, generation)])
    assert bool(misled(traffic, ROLLED_BACK)) is is_misled


@pytest.mark.parametrize(
    ("generation", "ended", "is_closed", "is_wrong"),
    [(1, 100, False, False), (1, 25, True, True), (2, 41, True, True), (2, 44, True, False), (2, 90, True, True)],
)
def test_only_a_websocket_of_a_generation_that_drains_ends(
    generation: int, ended: int, is_closed: bool, is_wrong: bool
) -> None:
    traffic = Visits("", 0, tunnels=[Tunnel(generation, EPOCH, EPOCH + ended, is_closed)])
    assert bool(misjudged_tunnels(traffic, ROLLED_BACK)) is is_wrong


@pytest.mark.live
@pytest.mark.long
def test_bad_releases_go_back_and_nothing_is_lost(tmp_path: Path) -> None:
    seen = safe_storm.run(tmp_path, safe_storm.EVERY)
    print(safe_storm.report(seen))
    assert seen.failures == []
    assert sum(seen.outcomes.values()) == safe_storm.EVERY
    assert seen.survivors() > 0
