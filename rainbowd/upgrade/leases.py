"""What one agent tells the other of its roster."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainbowd.address import parse_address
from rainbowd.roster import Generation, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.roster import Roster


@dataclass(frozen=True)
class LeaseCounts:
    """Those on one generation, in numbers; ``requests`` are all that ever were."""

    in_flight: int = 0
    tunnels: int = 0
    requests: int = 0


def tell_leases(roster: Roster) -> dict[str, Any]:
    """The leases of every generation, as JSON has them."""
    return {
        str(number): asdict(LeaseCounts(len(one.holders), len(one.tunnels), one.requests))
        for number, one in roster.generations.items()
    }


def read_leases(told: Mapping[str, Mapping[str, int]]) -> dict[int, LeaseCounts]:
    """The same, read again."""
    return {int(number): LeaseCounts(**counts) for number, counts in told.items()}


def tell_live(roster: Roster) -> dict[str, Any]:
    """What is live, and whether something will be, as JSON has it."""
    live = roster.live
    known = None if live is None else {"id": live.id, "release": str(live.release), "address": str(live.address)}
    return {"live": known, "launch_due": roster.is_launch_due}


def follow_live(roster: Roster, told: Mapping[str, Any]) -> None:
    """Have the same live here as there: the state of a generation is the other's business, its leases are ours."""
    live = told["live"]
    if live is None and roster.live is not None:
        roster.advance(roster.live, State.STOPPING)
    elif live is not None and (roster.live is None or roster.live.id != live["id"]):
        generation = roster.generations.get(live["id"])
        if generation is None:
            generation = Generation(live["id"], Path(live["release"]), parse_address(live["address"]))
            roster.add(generation)
        roster.promote(generation, live_at=generation.live_at or 0.0, previous=State.STANDBY)
    roster.is_launch_due = told["launch_due"]
