"""The metrics of a fleet, from the status of its member; none on a machine without a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

STATES = ("prepared", "claimed", "live", "failed", "lost", "reverting", "reverted", "absent", "none")
PHASES = ("preparing", "rolling", "baking", "rolling_back", "succeeded", "rolled_back", "halted", "failed")


def fleet_metrics(fleet: Mapping[str, Any] | None) -> Iterator[Metric]:
    """Yield the metrics of the fleet.

    Args:
        fleet: the status's ``fleet``; None if there is none.
    """
    if fleet is None:
        return
    is_up = fleet["engine"]["state"] == "up"
    yield GaugeMetricFamily("rainbowd_fleet_engine_up", "1 if etcd answers this machine", value=int(is_up))
    by_hand = fleet.get("by_hand") is not None
    yield GaugeMetricFamily(
        "rainbowd_fleet_by_hand", "1 if someone changed the link of this machine by hand", value=int(by_hand)
    )
    members = GaugeMetricFamily("rainbowd_fleet_members", "Members, by their state", labels=["state"])
    found = [_state(member) for member in fleet.get("members", ())]
    for state in STATES:
        members.add_metric([state], found.count(state))
    yield members
    phases = GaugeMetricFamily("rainbowd_fleet_rollout_phase", "1 for the phase of the rollout", labels=["phase"])
    for phase in PHASES:
        phases.add_metric([phase], int(fleet.get("phase") == phase))
    yield phases


def _state(member: Mapping[str, Any]) -> str:
    return str(member["state"] or "none") if member["present"] else "absent"
