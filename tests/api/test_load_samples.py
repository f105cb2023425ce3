from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.api.load_samples import KEPT_SECONDS, SAMPLE_SECONDS, quantile
from rainbowd.roster import Generation

if TYPE_CHECKING:
    from tests.api.conftest import FakeAgent

AT = datetime(2026, 11, 23, 10, tzinfo=UTC)


def test_a_quantile_is_even_within_its_bucket() -> None:
    bounds = (0.1, 0.2, 1.0)
    assert quantile(bounds, [0, 0, 0, 0], 0.5) is None
    assert quantile(bounds, [10, 0, 0, 0], 0.5) == pytest.approx(0.05)
    assert quantile(bounds, [10, 10, 0, 0], 0.5) == pytest.approx(0.1)
    assert quantile(bounds, [0, 10, 10, 0], 0.95) == pytest.approx(0.92)
    assert quantile(bounds, [0, 0, 0, 7], 0.5) == 1.0


async def test_a_sample_has_the_load_of_each_generation_and_the_durations_since_the_last(agent: FakeAgent) -> None:
    one = Generation(3, Path("/srv/a"), TcpAddress("127.0.0.1", 1))
    agent.roster.add(one)
    one.requests = 12
    agent.traffic.by_duration[0] = 4
    agent.load.take_sample(AT)
    agent.load.take_sample(AT + timedelta(seconds=5))
    first, second = agent.load.after("")
    assert first["at"] == "2026-11-23T10:00:00.000Z"
    assert first["generations"] == [{"id": 3, "in_flight": 0, "tunnels": 0, "requests": 12}]
    assert (first["half_seconds"], first["most_seconds"]) == (0.0005, 0.00095)
    assert (second["half_seconds"], second["most_seconds"]) == (None, None)


async def test_an_hour_is_remembered_and_no_more(agent: FakeAgent, autojump: object) -> None:
    with trio.move_on_after(2 * KEPT_SECONDS):
        await agent.load.run()
    assert len(agent.load.after("")) == KEPT_SECONDS / SAMPLE_SECONDS


async def test_a_failed_sample_is_not_the_last(
    agent: FakeAgent, autojump: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent.roster, "generations", None)
    with trio.move_on_after(2.5 * SAMPLE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.load.run)
            await trio.sleep(1.5 * SAMPLE_SECONDS)
            monkeypatch.undo()
    assert len(agent.load.after("")) == 1
