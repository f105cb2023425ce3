"""What a run is to measure, how long, and where it puts what it finds."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from bench.machine import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.proxies import Place
    from bench.results import Results

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        rounds: in each, every peer has its turn at everything.
        seconds: of load, a measurement; a part has a least that it can do.
        warm_seconds: of load, for each peer before its first measurement.
        connections: how many ask at a time.
        idle: how many connections are held open, in steps.
    """

    peers: tuple[str, ...]
    rounds: int
    seconds: float
    warm_seconds: float
    connections: tuple[int, ...]
    idle: tuple[int, ...]
    place: Place
    results: Results

    def turns(self, what: str) -> Iterator[int]:
        """The rounds, each announced."""
        for turn in range(self.rounds):
            print(f"bench: {what}, round {turn + 1} of {self.rounds}", file=sys.stderr)
            yield turn

    def order(self, turn: int) -> tuple[str, ...]:
        """The peers as they have their turns in a round, each time another one first."""
        first = turn % len(self.peers)
        return self.peers[first:] + self.peers[:first]

    def attempt(self, peer: str, act: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | None:
        """Do something with a peer; one that fails is noted, and does not end the run."""
        try:
            return act(*args, **options)
        except (BenchError, OSError) as error:
            self.results.failures.append(f"{peer}: {error!s}")
            print(f"bench: {self.results.failures[-1]}", file=sys.stderr)
            return None
