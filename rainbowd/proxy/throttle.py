"""A limit on how often something that repeats is reported."""

from __future__ import annotations

import math
import time


class Throttle:
    """A throttle that lets one report pass in each interval.

    Args:
        interval_seconds: the shortest time between two reports.
    """

    __slots__ = ("_interval_seconds", "_passed_at")

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._passed_at = -math.inf

    def try_pass(self) -> bool:
        """Return whether the last report was long enough ago; if so, a new interval begins."""
        now_seconds = time.monotonic()
        has_passed = now_seconds - self._passed_at > self._interval_seconds
        if has_passed:
            self._passed_at = now_seconds
        return has_passed
