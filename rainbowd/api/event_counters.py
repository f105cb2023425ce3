"""What the journal's events add up to."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from rainbowd.report.history import DECISIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

SPANS_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""The upper bounds of the buckets for what a deploy does; one more is for what took longer."""

UNDECIDED_MAX = 100
"""Deploys whose trigger is remembered; there are seldom more than two."""


class Histogram:
    """A histogram of seconds.

    Attributes:
        counts: by bucket; one more than there are bounds.
        seconds: the sum of all.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(SPANS_SECONDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: object) -> None:
        """Count one; what is no number is none."""
        if isinstance(seconds, int | float):
            self.counts[bisect_left(SPANS_SECONDS, seconds)] += 1
            self.seconds += seconds


class EventCounters:
    """What the journal's events add up to since the agent began.

    Attributes:
        deploys: by trigger and result.
        boot, switch, drain: how long these took.
        crashes: live generations that died.
        killed: generations that did not end when they were told to.
        waits: deploys that waited for a slot.
    """

    def __init__(self) -> None:
        self.deploys: dict[tuple[str, str], int] = {}
        self.boot, self.switch, self.drain = Histogram(), Histogram(), Histogram()
        self.crashes = self.killed = self.waits = 0
        self._triggers: dict[object, str] = {}

    def take(self, event: str, fields: Mapping[str, object]) -> None:
        """Take one event."""
        if event == "deploy.requested":
            self._triggers[fields.get("deploy")] = str(fields.get("trigger"))
            while len(self._triggers) > UNDECIDED_MAX:
                del self._triggers[next(iter(self._triggers))]
        elif event in DECISIONS:
            key = self._triggers.pop(fields.get("deploy"), "unknown"), DECISIONS[event]
            self.deploys[key] = self.deploys.get(key, 0) + 1
        elif event == "generation.live" and fields.get("switch_seconds") is not None:
            self.boot.add(fields.get("boot_seconds"))
            self.switch.add(fields.get("switch_seconds"))
        elif event == "generation.retired":
            self.drain.add(fields.get("drain_seconds"))
            self.killed += bool(fields.get("killed"))
        self.crashes += event == "generation.crashed"
        self.waits += event == "deploy.waiting"
