"""The messages, as JSON, in which two agents report to each other about their rosters."""

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
    """The leases on one generation.

    Attributes:
        in_flight: leases of requests.
        tunnels: leases of tunnels.
        requests: the number of all leases so far.
    """

    in_flight: int = 0
    tunnels: int = 0
    requests: int = 0


def encode_leases(roster: Roster) -> dict[str, Any]:
    """Return the leases of every generation, for a message."""
    return {
        str(number): asdict(LeaseCounts(len(generation.holders), len(generation.tunnels), generation.requests))
        for number, generation in roster.generations.items()
    }


def decode_leases(leases: Mapping[str, Mapping[str, int]]) -> dict[int, LeaseCounts]:
    """Return the leases that ``encode_leases`` encoded, by the generation's id."""
    return {int(number): LeaseCounts(**counts) for number, counts in leases.items()}


def encode_live(roster: Roster) -> dict[str, Any]:
    """Return the live generation, and whether a launch is due, for a message."""
    live = roster.live
    known = None if live is None else {"id": live.id, "release": str(live.release), "address": str(live.address)}
    return {"live": known, "launch_due": roster.is_launch_due}


def follow_live(roster: Roster, message: Mapping[str, Any]) -> None:
    """Make the generation live that is live in the other agent, which owns the generations' states.

    Args:
        roster: of this agent, which owns its leases only.
        message: a message that ``encode_live`` encoded.
    """
    live = message["live"]
    if live is None and roster.live is not None:
        roster.advance(roster.live, State.STOPPING)
    elif live is not None and (roster.live is None or roster.live.id != live["id"]):
        generation = roster.generations.get(live["id"])
        if generation is None:
            generation = Generation(live["id"], Path(live["release"]), parse_address(live["address"]))
            roster.add(generation)
        roster.promote(generation, live_at=generation.live_at or 0.0, previous=State.STANDBY)
    is_launch_due = bool(message["launch_due"])
    roster.hold_while(lambda: is_launch_due)
