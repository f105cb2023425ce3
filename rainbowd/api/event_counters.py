"""Counters and histograms of the journal's events, for the metrics."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from rainbowd.report.history import RESULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

SPANS_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""The upper bounds of the buckets for the steps of a deploy; one more bucket is for longer ones."""


class Histogram:
    """A histogram of seconds.

    Attributes:
        counts: by bucket; there is one bucket more than bounds.
        seconds: the sum of all.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(SPANS_SECONDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: object) -> None:
        """Count one duration in seconds; ignore anything that is not a number."""
        if isinstance(seconds, int | float):
            self.counts[bisect_left(SPANS_SECONDS, seconds)] += 1
            self.seconds += seconds


class EventCounters:
    """Counters of the journal's events since the agent started.

    Attributes:
        deploys: by trigger and result.
        boot, switch, drain: the durations of these steps.
        crashes: live generations that died.
        killed: generations that did not exit after the stop signal.
        waits: deploys that waited for a slot.
        failed_bakes, failed_canaries: releases that failed after they went live, and with a share of the clients.
    """

    def __init__(self) -> None:
        self.deploys: dict[tuple[str, str], int] = {}
        self.boot, self.switch, self.drain = Histogram(), Histogram(), Histogram()
        self.crashes = self.killed = self.waits = 0
        self.failed_bakes = self.failed_canaries = 0

    def count(self, event: str, fields: Mapping[str, object]) -> None:
        """Count one event.

        Args:
            event: its name.
            fields: its fields in the journal.
        """
        if event in RESULTS:
            key = str(fields.get("trigger") or "unknown"), RESULTS[event]
            self.deploys[key] = self.deploys.get(key, 0) + 1
            self.failed_bakes += fields.get("rolled_back_to") is not None
            self.failed_canaries += fields.get("canary_share") is not None
        elif event == "generation.live" and fields.get("switch_seconds") is not None:
            self.boot.add(fields.get("boot_seconds"))
            self.switch.add(fields.get("switch_seconds"))
        elif event == "generation.retired":
            self.drain.add(fields.get("drain_seconds"))
            self.killed += bool(fields.get("killed"))
        self.crashes += event == "generation.crashed"
        self.waits += event == "deploy.waiting"
