"""The metrics of a fleet, and their absence on a machine without one."""

from __future__ import annotations

from rainbowd.api.fleet_metrics import fleet_metrics


def samples(fleet: dict[str, object] | None) -> dict[tuple[str, str], float]:
    """Return the value of each sample that is not 0, by its name and its label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for metric in fleet_metrics(fleet)
        for sample in metric.samples
        if sample.value
    }


def test_a_machine_without_a_fleet_has_no_metrics_of_one() -> None:
    assert list(fleet_metrics(None)) == []


def test_a_member_that_has_not_reached_etcd_says_so() -> None:
    assert samples({"engine": {"state": "away"}}) == {}


def test_members_are_counted_by_state() -> None:
    members = [
        {"present": True, "state": "live"},
        {"present": True, "state": None},
        {"present": False, "state": "live"},
    ]
    fleet: dict[str, object] = {"engine": {"state": "up"}, "members": members, "phase": "rolling", "by_hand": "v1"}
    assert samples(fleet) == {
        ("rainbowd_fleet_engine_up", ""): 1,
        ("rainbowd_fleet_by_hand", ""): 1,
        ("rainbowd_fleet_members", "live"): 1,
        ("rainbowd_fleet_members", "none"): 1,
        ("rainbowd_fleet_members", "absent"): 1,
        ("rainbowd_fleet_rollout_phase", "rolling"): 1,
    }
