from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.deploy.generations.events import GenerationEvents
from rainbowd.deploy.process import ExitReport
from rainbowd.roster import Generation, State
from tests.fakes import Events

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("autojump")
RELEASE = Path("/releases/a")
ADDRESS = TcpAddress("127.0.0.1", 20000)


class Launched:
    """As much of an app as is told of."""

    address, pid = ADDRESS, 4711


def begun() -> tuple[Any, Events]:
    events = Events()
    recorder: Any = events
    return GenerationEvents(recorder, 3, RELEASE), events


async def test_each_phase_of_a_life_is_recorded_with_its_duration() -> None:
    generation_events, events = begun()
    generation_events.launched(Launched(), "d")
    await trio.sleep(2)
    generation_events.healthy()
    await trio.sleep(0.25)
    generation_events.live()
    await trio.sleep(60)
    generation_events.draining()
    await trio.sleep(5)
    generation_events.stopping()
    await trio.sleep(1)
    generation_events.retired(ExitReport(-15, killed=False, left=[]), requests=7)
    assert [event.pop("event") for event in events] == [
        "generation.launched",
        "generation.healthy",
        "generation.live",
        "generation.draining",
        "generation.retired",
    ]
    assert all((event.pop("generation"), event.pop("release")) == (3, RELEASE) for event in events)
    assert events == [
        {"deploy": "d", "relaunch": False, "address": "127.0.0.1:20000", "pid": 4711},
        {},
        {"boot_seconds": 2.0, "switch_seconds": 0.25},
        {},
        {"exit_status": -15, "killed": False, "drain_seconds": 5.0, "requests": 7, "left": []},
    ]


async def test_one_that_is_live_again_has_no_switch_and_one_that_never_drained_no_time_of_it() -> None:
    generation_events, events = begun()
    generation_events.launched(Launched(), None)
    generation_events.healthy()
    generation_events.live()
    await trio.sleep(1)
    generation_events.standby(30)
    generation_events.live()
    generation_events.stopping()
    generation_events.retired(ExitReport(None, killed=True, left=[8]), requests=0)
    assert events[0]["relaunch"]
    assert [event["switch_seconds"] for event in events.named("generation.live")] == [0.0, None]
    assert events[-1]["drain_seconds"] == 0.0


async def test_the_time_before_an_adoption_counts_and_known_events_are_not_repeated() -> None:
    for state, name in ((State.LIVE, "live_since"), (State.DRAINING, "draining_since")):
        generation_events, events = begun()
        now = trio.current_time()
        generation = Generation(3, RELEASE, ADDRESS, pid=4711)
        for is_news in (True, False):
            generation_events.adopted(generation, state, 40.0, is_news=is_news)
        assert getattr(generation_events, name) == now - 40
        assert [(event["event"], event["state"]) for event in events] == [("generation.adopted", state.value)]


class Log:
    """Keeps the level of each line."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.lines.append((level, event, fields))


async def test_what_needs_a_person_is_a_warning_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr("rainbowd.deploy.generations.events.log", log)
    generation_events, events = begun()
    generation_events.crashed("was ended by SIGKILL", ["last words"], exit_status=-9)
    generation_events.retired(ExitReport(0, killed=False, left=[]), requests=0)
    generation_events.retired(ExitReport(-9, killed=True, left=[]), requests=0)
    generation_events.retired(ExitReport(None, killed=False, left=[8], reason="pid 8 hangs"), requests=0)
    assert [(level, event) for level, event, _ in log.lines] == [
        ("error", "generation.crashed"),
        ("info", "generation.retired"),
        ("warning", "generation.retired"),
        ("error", "processes could not be ended"),
        ("warning", "generation.retired"),
    ]
    assert log.lines[0][2]["output"] == ["last words"]
    assert log.lines[3][2] == {"generation": 3, "pids": [8], "reason": "pid 8 hangs"}
    assert [event["event"] for event in events] == ["generation.crashed", *["generation.retired"] * 3]
