from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.agent.maintenance import SiteStatus
from rainbowd.agent.status import AgentEntry, StatusPublisher, app_name
from rainbowd.agent.status_content import build_status, timestamp
from rainbowd.deploy.deploys.snapshot import DeploySnapshot
from rainbowd.deploy.records import LastOutcome
from rainbowd.roster import Generation, KeptProcesses, ProcessStatus, Roster
from tests.deploy.generations.test_adoption import A, B
from tests.fake_holder import FakeHolder


def snapshot(**changes: Any) -> DeploySnapshot:
    return replace(DeploySnapshot(Path("/current")), **changes)


class FakeRecorder:
    """Keeps each status."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def observe(self, _: object) -> None: ...

    status_source: Any = None

    def status_changed(self) -> None:
        self.told.append(self.status_source())


@pytest.mark.usefixtures("autojump")
async def test_a_counter_that_rose_and_fell_between_two_samples_is_published_as_it_is() -> None:
    roster, recorder = Roster(), FakeRecorder()
    generation = Generation(1, A, TcpAddress("127.0.0.1", 20000))
    roster.add(generation)
    deploys: Any = SimpleNamespace(supervisor=SimpleNamespace(deploying=None, snapshot=snapshot))
    lasting: Any = recorder
    fleet: Any = SimpleNamespace(status=lambda: None)
    site: Any = SimpleNamespace(status=SiteStatus())
    publisher = StatusPublisher(roster, lasting, deploys, AgentEntry("shop", [], 0.0), fleet=fleet, site=site)
    async with trio.open_nursery() as nursery:
        publisher.start(nursery)
        await trio.sleep(1.5)
        holder = FakeHolder()
        generation.holders.add(holder)
        publisher.changed()  # something else changed
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


def test_a_time_is_in_utc_with_milliseconds() -> None:
    assert timestamp(1e9 + 0.5) == "2001-09-09T01:46:40.500Z"


def test_an_empty_roster_is_an_empty_status() -> None:
    told = build_status({"pid": 7}, Roster(), snapshot())
    nothing = dict.fromkeys(("live", "maintenance", "pause", "wanted", "deploying", "last_deploy", "crashes", "kept"))
    warnings = [{"kind": "dead", "text": "nothing is live"}]
    assert told == {"agent": {"pid": 7}, **nothing, "warnings": warnings, "generations": []}


def test_processes_that_could_not_be_ended_are_a_warning_until_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rainbowd.deploy.warnings.survivors", lambda: ["pid 8, `sleep 9`, of user b", "pid 9"])
    told: Any = build_status({}, Roster(), snapshot())
    text = "these processes could not be stopped: pid 8, `sleep 9`, of user b, pid 9; stop them manually"
    assert {"kind": "left", "text": text} in told["warnings"]


def test_the_processes_of_a_crashed_app_are_in_the_status_and_the_warnings_while_nothing_is_live() -> None:
    alone = ProcessStatus("mailer", 1, exits_in_a_row=3)
    workers = [ProcessStatus("worker", number, exits_in_a_row=2 + number) for number in (1, 2)]
    told: Any = build_status({}, Roster(), snapshot(kept=KeptProcesses(7, [alone, *workers])))
    assert told["kept"]["generation"] == 7
    assert [one["name"] for one in told["kept"]["processes"]] == ["mailer", "worker", "worker"]
    assert [one["text"].partition(" keeps exiting: ")[::2] for one in told["warnings"] if one["kind"] == "process"] == [
        ("mailer", "3 times in a row; the log has its output"),
        ("worker.1", "3 times in a row; the log has its output"),
        ("worker.2", "4 times in a row; the log has its output"),
    ]


def test_every_generation_is_listed_with_the_live_one() -> None:
    roster = Roster()
    for number, release in ((1, A), (2, B)):
        roster.add(Generation(number, release, TcpAddress("127.0.0.1", 20000 + number), started_at=1e9, pid=number))
    roster.promote(roster.generations[1], live_at=1e9 + 1)
    told: Any = build_status({}, roster, snapshot(named_release=B, last_outcome=LastOutcome("d", "failed", "why", 1e9)))
    assert (told["live"], told["wanted"]) == (1, "/b")
    decision = {"deploy": "d", "result": "failed", "reason": "why", "at": "2001-09-09T01:46:40.000Z"}
    assert told["last_deploy"] == {**decision, "rollback": False}
    assert [(one["id"], one["state"], one["live_at"]) for one in told["generations"]] == [
        (1, "live", "2001-09-09T01:46:41.000Z"),
        (2, "starting", None),
    ]
    assert told["generations"][0] == {
        "id": 1,
        "state": "live",
        "release": "/a",
        "address": "127.0.0.1:20001",
        "pid": 1,
        "started_at": "2001-09-09T01:46:40.000Z",
        "live_at": "2001-09-09T01:46:41.000Z",
        "in_flight": 0,
        "tunnels": 0,
        "requests": 0,
        "errors": 0,
        "processes": [],
    }
