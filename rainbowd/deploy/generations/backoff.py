"""How long to wait before a launch is tried again."""

from __future__ import annotations

FIRST_SECONDS = 0.5
MOST_SECONDS = 30.0
STABLE_SECONDS = 60.0


class Backoff:
    """At once, then half a second doubled up to thirty, from the beginning again after a minute of life."""

    def __init__(self) -> None:
        self._delay_seconds = 0.0

    def begin_anew(self) -> None:
        """Forget what was."""
        self._delay_seconds = 0.0

    def after(self, lived_seconds: float) -> float:
        """Seconds to wait now, after a generation that was live for ``lived_seconds`` (0: it never was)."""
        if lived_seconds >= STABLE_SECONDS:
            self.begin_anew()
        delay_seconds = self._delay_seconds
        self._delay_seconds = min(max(delay_seconds * 2, FIRST_SECONDS), MOST_SECONDS)
        return delay_seconds
