"""The state of a roster, without its leases: what another process needs to lease the same generations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the types of fields exist at run time, for a compiler

from rainbowd.address import Address  # noqa: TC001
from rainbowd.roster.generation import State  # noqa: TC001


@dataclass(frozen=True)
class GenerationView:
    """The state of one generation: see ``Generation``."""

    id: int
    release: Path
    address: Address
    state: State


@dataclass(frozen=True)
class RosterView:
    """The state of a roster: see ``Roster``.

    Attributes:
        generations: those that are not retired.
        live, canary: their ids; None if there is none.
        share_percent: of the canary.
        by: how clients are told apart.
        is_launch_due: whether requests are held while no generation is live.
        is_partial: whether there may be other generations, which serve no new requests.
    """

    generations: tuple[GenerationView, ...]
    live: int | None
    canary: int | None
    share_percent: float
    by: str
    is_launch_due: bool
    is_partial: bool = False
