from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.cli import follow
from rainbowd.cli.deploy_request import DeployRequest, TriggerFile
from rainbowd.cli.deploy_tracker import FAILED, DeployTracker

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.report.journal import Event

ASKED_AT = "2026-11-23T10:00:05.000Z"


def at(seconds: float) -> str:
    return f"2026-11-23T10:00:{seconds:06.3f}Z"


def requested(deploy: str, seconds: float, request: str | None = None, trigger: str = "file") -> Event:
    return {"at": at(seconds), "event": "deploy.requested", "deploy": deploy, "request": request, "trigger": trigger}


def decided(deploy: str, how: str = "succeeded", release: str = "/r/a", **fields: object) -> Event:
    return {"at": at(9), "event": f"deploy.{how}", "deploy": deploy, "release": release, "generation": 2, **fields}


def of(name: str, generation: int, deploy: str | None = None) -> Event:
    event: Event = {"at": at(6), "event": f"generation.{name}", "generation": generation}
    return event if name != "launched" else {**event, "deploy": deploy}


def names(events: list[Event]) -> list[object]:
    return [event["event"] for event in events]


@pytest.fixture
def tracker() -> DeployTracker:
    return DeployTracker("mine", "/r/a", ASKED_AT)


def test_a_deploy_is_found_by_the_request_and_followed_to_its_end(tracker: DeployTracker) -> None:
    assert tracker.read([requested("x", 4, "other"), decided("x")]) == []
    assert names(tracker.read([requested("y", 6, "mine")])) == ["deploy.requested"]
    told = tracker.read([of("launched", 3, "y"), of("launched", 4, None), of("healthy", 4), of("healthy", 3)])
    assert [(event["event"], event["generation"]) for event in told] == [
        ("generation.launched", 3),
        ("generation.healthy", 3),
    ]
    assert tracker.outcome is None
    tracker.read([decided("x", "failed"), decided("y")])
    assert tracker.outcome is not None
    assert (tracker.outcome.result, tracker.outcome.release, tracker.outcome.generation) == ("succeeded", "/r/a", 2)


def test_the_generation_that_is_live_again_after_a_failed_bake_is_part_of_the_deploy(tracker: DeployTracker) -> None:
    tracker.read([requested("y", 6, "mine")])
    told = tracker.read([of("live", 1), of("launched", 3, "y"), of("live", 3), of("standby", 2), of("live", 2)])
    assert [(event["event"], event["generation"]) for event in told] == [
        ("generation.launched", 3),
        ("generation.live", 3),
        ("generation.live", 2),
    ]
    told = tracker.read([decided("y", "failed", reason="it is bad"), of("draining", 3), of("live", 4)])
    assert names(told) == ["deploy.failed"], "nothing after the outcome"


def test_requests_that_are_merged_share_one_deploy(tracker: DeployTracker) -> None:
    told = tracker.read(
        [requested("x", 6, "first"), requested("x", 6, "mine"), requested("x", 6, "last"), decided("x")]
    )
    assert names(told) == [*["deploy.requested"] * 3, "deploy.succeeded"]
    assert tracker.outcome is not None


def test_a_failure_has_its_reason_and_the_last_lines(tracker: DeployTracker) -> None:
    tracker.read([requested("x", 6, "mine"), decided("x", "failed", reason="it is bad", output=["a", "b"])])
    assert tracker.outcome is not None
    assert (tracker.outcome.result, tracker.outcome.reason, tracker.outcome.output) == (FAILED, "it is bad", ["a", "b"])


def test_a_success_of_another_release_is_a_failure(tracker: DeployTracker) -> None:
    tracker.read([requested("x", 6, "mine"), decided("x", release="/r/b")])
    assert tracker.outcome is not None
    assert (tracker.outcome.result, tracker.outcome.reason) == (FAILED, "superseded by /r/b, which is live")


@pytest.mark.parametrize("how", ["succeeded", "rolled_back"])
def test_without_a_release_of_ours_any_will_do(how: str) -> None:
    tracker = DeployTracker("mine", None, ASKED_AT)
    tracker.read([requested("x", 6, "mine"), decided("x", how, release="/r/b")])
    assert tracker.outcome is not None
    assert tracker.outcome.result == how


def test_anothers_deploy_is_not_ours_while_our_request_is_in_its_place(tracker: DeployTracker) -> None:
    tracker.read([requested("x", 6, "other"), decided("x")])
    assert (tracker.deploy, tracker.outcome) == (None, None)


def test_a_request_that_was_replaced_goes_with_the_deploy_that_was_requested_later(tracker: DeployTracker) -> None:
    tracker.read([requested("early", 4.999, "other"), requested("late", 5, "another"), decided("early")])
    tracker.is_replaced = True
    told = tracker.read([decided("late")])
    assert names(told) == ["deploy.requested", "deploy.succeeded"]
    assert tracker.deploy == "late"
    assert tracker.outcome is not None


def test_our_own_deploy_wins_over_one_that_was_taken_for_it(tracker: DeployTracker) -> None:
    tracker.is_replaced = True
    tracker.read([requested("other", 6, "theirs")])
    assert tracker.deploy == "other"
    tracker.read([requested("own", 6, "mine"), decided("other", "failed")])
    assert (tracker.deploy, tracker.outcome) == ("own", None)
    tracker.read([decided("own")])
    assert tracker.outcome is not None
    assert tracker.outcome.result == "succeeded"


def test_the_deploy_of_a_later_start_is_ours(tracker: DeployTracker) -> None:
    tracker.read([requested("before", 4, trigger="start")])
    assert tracker.deploy is None
    tracker.read([requested("after", 5.5, trigger="start"), decided("after")])
    assert tracker.outcome is not None


def test_a_switch_to_our_release_without_our_request_is_ours(tracker: DeployTracker) -> None:
    elsewhere, here = (requested(name, 6, trigger="symlink") for name in ("elsewhere", "here"))
    tracker.read([{**elsewhere, "release": "/r/b"}, {**here, "release": "/r/a"}, decided("here")])
    assert tracker.deploy == "here"
    assert tracker.outcome is not None


def test_an_unseen_request_is_made_again_and_then_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tracker: DeployTracker, tmp_path: Path
) -> None:
    monkeypatch.setattr(follow, "RESEND_SECONDS", 0.0)
    file = tmp_path / "redeploy.trigger"
    pending = follow._PendingRequest(tracker, TriggerFile(file, DeployRequest("mine", None, None)))
    for _ in range(3):
        file.unlink(missing_ok=True)
        pending.check()
        assert file.exists()
    assert capsys.readouterr().err.count("run `rainbowd upgrade`") == 1


def test_without_a_request_the_first_deploy_after_the_switch_is_ours() -> None:
    tracker = DeployTracker(None, "/r/a", ASKED_AT)
    tracker.read([requested("x", 4.5, trigger="symlink"), requested("y", 5.02, trigger="symlink"), decided("y")])
    assert tracker.deploy == "y"
    assert tracker.outcome is not None


def test_events_of_another_version_do_no_harm(tracker: DeployTracker) -> None:
    strange: list[Event] = [{"event": "deploy.requested"}, {"event": "x"}, {"event": "generation.launched"}]
    tracker.is_replaced = True
    assert tracker.read(strange) == []
    assert tracker.deploy is None
    tracker.read([requested("x", 6, "mine"), {"event": "deploy.failed", "deploy": "x", "output": 5, "generation": "z"}])
    assert tracker.outcome is not None
    assert (tracker.outcome.output, tracker.outcome.generation) == ([], None)
