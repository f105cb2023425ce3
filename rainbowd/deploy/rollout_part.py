"""The part of a fleet's rollout that one deploy is, as hooks see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RolloutPart:
    """One member's turn in a rollout.

    Attributes:
        rollout: the id of the order.
        wave: the number of the wave, from 1.
        is_first: whether no member has launched the release yet.
    """

    rollout: int
    wave: int
    is_first: bool
