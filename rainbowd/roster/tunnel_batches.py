"""The order in which tunnels are closed: in batches, so that their clients do not all reconnect at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

TUNNELS_CLOSE_SECONDS = 5.0
"""The time over which tunnels are closed."""
_BATCHES_MAX = 50

Tunnel = TypeVar("Tunnel")


def in_batches(tunnels: Collection[Tunnel]) -> Iterator[tuple[list[Tunnel], float]]:
    """Yield the tunnels in batches, each with the seconds to wait after it."""
    left = list(tunnels)
    size = -(-len(left) // _BATCHES_MAX)
    for start in range(0, len(left), size or 1):
        yield left[start : start + size], TUNNELS_CLOSE_SECONDS * size / len(left)
