from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.report.history import deploys, previous_release

if TYPE_CHECKING:
    from rainbowd.report.journal import Event


def at(seconds: float) -> str:
    return f"2026-11-23T10:00:{seconds:06.3f}Z"


def asked(deploy: str, seconds: float, **fields: object) -> Event:
    return {"at": at(seconds), "event": "deploy.requested", "deploy": deploy, "release": "/r/a", **fields}


def decided(deploy: str, seconds: float, how: str, **fields: object) -> Event:
    return {"at": at(seconds), "event": f"deploy.{how}", "deploy": deploy, "release": "/r/a", **fields}


def test_a_deploy_is_listed_from_its_first_trigger_to_its_end() -> None:
    (entry,) = deploys(
        [
            asked("x", 1, trigger="symlink", by="ann", note="first"),
            asked("x", 1.5, trigger="api", by=None, note=None, release="/r/b"),
            {"at": at(1.6), "event": "deploy.waiting", "deploy": "x"},
            {"at": at(1.7), "event": "generation.launched", "generation": 2},
            decided("x", 3.25, "failed", generation=2, release="/r/b", reason="it is bad", output=["a line"]),
        ]
    )
    assert entry == {
        "deploy": "x",
        "at": at(1),
        "trigger": "api",
        "by": None,
        "note": "first",
        "release": "/r/b",
        "generation": 2,
        "result": "failed",
        "reason": "it is bad",
        "output": ["a line"],
        "seconds": 2.25,
        "rollback": False,
        "superseded_by": None,
    }


def test_deploys_are_newest_first_and_one_in_progress_has_no_result() -> None:
    events = [asked("x", 1), decided("x", 2, "succeeded"), asked("y", 3), decided("y", 4, "rolled_back"), asked("z", 5)]
    assert [(entry["deploy"], entry["result"]) for entry in deploys(events)] == [
        ("z", None),
        ("y", "rolled_back"),
        ("x", "succeeded"),
    ]


def test_a_deploy_whose_beginning_is_rotated_out_is_listed_by_its_end() -> None:
    (entry,) = deploys([decided("x", 2, "succeeded", generation=4)])
    assert (entry["result"], entry["generation"], entry["trigger"], entry["seconds"]) == ("succeeded", 4, None, 0)


def test_a_duration_is_that_of_the_agent_if_it_has_one_and_never_negative() -> None:
    back = "2026-11-23T09:00:00.000Z"
    told = [asked("x", 1), {**decided("x", 2, "succeeded"), "at": back, "seconds": 1.5}]
    untold = [asked("y", 1), {**decided("y", 2, "failed"), "at": back, "seconds": None}]
    assert [entry["seconds"] for entry in deploys([*told, *untold])] == [None, 1.5]


def test_damaged_and_unknown_events_are_skipped() -> None:
    strange: list[Event] = [
        {"event": "deploy.requested"},
        {"at": 5, "event": "deploy.requested", "deploy": "x"},
        {"at": at(1), "event": "deploy.pondered", "deploy": "x"},
        {"at": "yesterday", "event": "deploy.requested", "deploy": "y"},
        decided("y", 2, "succeeded"),
    ]
    assert [(entry["deploy"], entry["seconds"]) for entry in deploys(strange)] == [("y", None)]


def test_a_rollback_goes_to_the_last_live_release_that_differs() -> None:
    def live(release: str) -> Event:
        return {"at": at(1), "event": "generation.live", "release": release}

    assert previous_release([], "/r/a") is None
    assert previous_release([live("/r/a"), live("/r/a")], "/r/a") is None
    assert previous_release([live("/r/a"), live("/r/b"), live("/r/c"), live("/r/b")], "/r/b") == "/r/c"
    assert previous_release([live("/r/a"), live("/r/b"), live("/r/a")], "/r/a") == "/r/b"
