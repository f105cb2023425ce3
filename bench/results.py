"""What was measured: rows of numbers, one for each peer and round, and how they compare."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from bench.machine import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Row:
    """One thing that is measured.

    Attributes:
        unit: ``x`` is a ratio within one peer, which is not compared with another's again.
    """

    key: str
    label: str
    unit: str


@dataclass(frozen=True)
class Spread:
    """Of some rounds."""

    median: float
    least: float
    most: float


@dataclass
class Results:
    """The numbers of a run.

    Attributes:
        values: by row and peer; one for each round, None where the round failed, so that rounds stay side by side.
        limited: the rows and peers whose pace the load set in some round, not the proxy, as ``row peer``.
        failures: what went wrong, in words.
        facts: of the machine and the programs.
    """

    peers: list[str]
    facts: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    values: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    limited: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def put(self, row: Row, peer: str, turn: int, value: float, *, limited: bool = False) -> None:
        """Record the value of a round, which is counted from 0; rounds before it that have none failed."""
        self.rows.setdefault(row.key, row)
        values = self.values.setdefault(row.key, {}).setdefault(peer, [])
        values += [None] * (turn - len(values))
        values.append(value)
        if limited:
            self.limited.add(f"{row.key} {peer}")

    def spread(self, key: str, peer: str) -> Spread | None:
        """Of the values themselves; None where there are none."""
        return _spread(self._values(key, peer))

    def ratio(self, key: str, peer: str, base_key: str, base_peer: str) -> Spread | None:
        """Of a value to another of the same round."""
        pairs = zip(self._values(key, peer), self._values(base_key, base_peer), strict=False)
        return _spread(ours / base if ours is not None and base else None for ours, base in pairs)

    def _values(self, key: str, peer: str) -> list[float | None]:
        return self.values.get(key, {}).get(peer, [])


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def to_json(results: Results) -> str:
    """All of it, to be read again by ``from_json``."""
    plain = asdict(results)
    plain["rows"] = [asdict(row) for row in results.rows.values()]
    plain["limited"] = sorted(results.limited)
    return json.dumps(plain, indent=1) + "\n"


def from_json(text: str) -> Results:
    """The results of an earlier run.

    Raises:
        BenchError: it is none.
    """
    try:
        plain = json.loads(text)
        rows = {each["key"]: Row(**each) for each in plain["rows"]}
        return Results(**{**plain, "rows": rows, "limited": set(plain["limited"])})
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"this is not a run's JSON: {error}") from error
