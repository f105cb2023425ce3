"""What rainbowd is to reach, held against what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.proxies import COMPILED, OURS
from bench.table import number

if TYPE_CHECKING:
    from bench.results import Results, Spread

PURE = "rainbowd"


@dataclass(frozen=True)
class Goal:
    """That a row of ours is at most this.

    Attributes:
        base_key, base_peer: what the row is a ratio to, in the same round; without, its own units count.
        peer: the pure or the compiled rainbowd.
    """

    key: str
    most: float
    base_key: str = ""
    base_peer: str = ""
    peer: str = PURE

    def outcome(self, results: Results) -> Spread | None:
        """What was measured; None where it, or its base, was not."""
        if self.base_key:
            return results.ratio(self.key, self.peer, self.base_key, self.base_peer)
        return results.spread(self.key, self.peer)

    def text(self, results: Results) -> str:
        """What the goal is."""
        row = results.rows[self.key]
        label = f"{self.peer}: {row.label}"
        if not self.base_key:
            unit = "" if row.unit == "x" else f" {row.unit}"
            return f"{label} <= {self.most:g}{unit}"
        if self.base_peer == self.peer:
            return f"{label} <= {self.most:g} of {results.rows[self.base_key].label}"
        return f"{label} <= {self.most:g} of {self.base_peer}'s"


def _beside(base: str, limits: dict[str, float], peer: str = PURE) -> list[Goal]:
    return [Goal(key, most, key, base, peer) for key, most in limits.items()]


MANY = [f"cpu.{head}.{connections}" for head in ("short", "browser") for connections in (32, 256)]
ONE = [f"cpu.{head}.1" for head in ("short", "browser")]

GOALS = [
    *_beside("nginx", dict.fromkeys(MANY, 3.0)),
    *_beside("nginx", dict.fromkeys(MANY, 1.8), COMPILED),
    *_beside("nginx", dict.fromkeys(ONE, 2.6), COMPILED),
    *_beside("nginx", {"p50.browser.1": 1.5}),
    *_beside("http-proxy", {"cpu.browser.32": 0.5}),
    *_beside("undici", {"cpu.browser.32": 1.1}),
    Goal("cpu.browser.256", 1.05, "cpu.browser.32", PURE),
    *(Goal(f"workers.cpu.{connections}", 1.1, peer=peer) for peer in OURS for connections in (32, 256)),
    *(Goal("workers.memory", 45 * 1024, peer=peer) for peer in OURS),
    *_beside("nginx", {f"body.{way}.{size}": 0.6 for way in ("down", "up") for size in (1, 64)}),
    Goal("idle.10000", 6),
    Goal("beside.p50", 1.1),
    Goal("beside.cpu", 1.1),
    *_beside("nginx", {"frame.cpu": 1.2}),
]
"""A median is held against each; a tenth, or a twentieth, is left for noise where the goal is "no worse"."""


def verdicts(results: Results) -> str:
    """A line for each goal that was measured."""
    lines = []
    for goal in GOALS:
        if outcome := goal.outcome(results):
            word = "met   " if outcome.median <= goal.most else "missed"
            seen = f"{number(outcome.median)} ({number(outcome.least)}-{number(outcome.most)})"
            lines.append(f"{word}  {goal.text(results)}: {seen}")
    return "\n".join(lines)
