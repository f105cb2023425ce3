"""The delay before a launch is tried again."""

from __future__ import annotations

FIRST_SECONDS = 0.5
MAX_SECONDS = 30.0
STABLE_SECONDS = 60.0


class Backoff:
    """A delay of zero, then half a second, doubled up to thirty; a minute of being live resets it."""

    def __init__(self) -> None:
        self._delay_seconds = 0.0

    def reset(self) -> None:
        """Begin with a delay of zero again."""
        self._delay_seconds = 0.0

    def next_delay_seconds(self, lived_seconds: float) -> float:
        """Return the seconds to wait now, and lengthen the next delay.

        Args:
            lived_seconds: how long the last generation was live; 0 if it never was.
        """
        if lived_seconds >= STABLE_SECONDS:
            self.reset()
        delay_seconds = self._delay_seconds
        self._delay_seconds = min(max(delay_seconds * 2, FIRST_SECONDS), MAX_SECONDS)
        return delay_seconds
