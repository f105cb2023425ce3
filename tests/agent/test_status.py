from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.agent.status import StatusPublisher, app_name
from rainbowd.roster import Generation, Roster
from tests.agent.test_snapshot import supervisor as unoccupied
from tests.deploy.generations.test_adoption import A


class FakeRecorder:
    """Keeps each status."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def observe(self, _: object) -> None: ...

    def publish(self, status: object) -> None:
        self.told.append(status)


class Holder:
    """Of a lease."""

    def cut(self) -> None: ...


@pytest.mark.usefixtures("autojump")
async def test_a_counter_that_moved_and_moved_back_between_two_looks_is_told_as_it_is() -> None:
    roster, recorder = Roster(), FakeRecorder()
    generation = Generation(1, A, TcpAddress("127.0.0.1", 20000))
    roster.add(generation)
    supervisor = unoccupied()
    lasting: Any = recorder
    telling = StatusPublisher(roster, lasting, [], lambda: supervisor, name="shop", started_at=0.0, is_silent=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(telling.publish_counters)
        await trio.sleep(1.5)
        holder = Holder()
        generation.holders.add(holder)
        telling.publish()  # something else changed
        generation.holders.discard(holder)
        await trio.sleep(1)
        assert recorder.told[-1]["generations"][0]["in_flight"] == 0
        count = len(recorder.told)
        await trio.sleep(5)
        assert len(recorder.told) == count, "nothing moved"
        nursery.cancel_scope.cancel()


def test_an_app_is_named_by_its_config_or_by_the_directory_of_that(tmp_path: Path) -> None:
    base = tmp_path / "shop"
    base.mkdir()
    (tmp_path / "link").symlink_to(base)
    assert app_name("The shop", base) == "The shop"
    assert app_name(None, base) == "shop"
    assert app_name(None, tmp_path / "link") == "shop"
    assert app_name(None, Path("/")) == "rainbowd"
