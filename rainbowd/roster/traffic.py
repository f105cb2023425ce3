"""Counters of the proxy for the metrics, kept only if the API is enabled."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper bounds of the duration buckets; one more bucket has the longer durations."""

GONE = 0
"""In place of a status class: the client closed its connection before the response was complete."""

_SWITCHING = 1  # 101: the duration of a tunnel shows nothing about the app
_CLASSES = 10  # an app may answer 999


class Traffic:
    """Counters since the agent started.

    Attributes:
        by_class: exchanges by the first digit of their status, or ``GONE``; includes requests that could not be read.
        by_duration: exchanges that the app answered, by the bucket of their duration.
        seconds: the sum of these durations.
        sent_bytes: bytes of bodies that were sent to clients.
        broken: responses that the app broke off.
        own: responses that rainbowd wrote itself, by status.
    """

    __slots__ = ("broken", "by_class", "by_duration", "own", "seconds", "sent_bytes")

    bounds_seconds = BOUNDS_SECONDS

    def __init__(self) -> None:
        self.by_class = [0] * _CLASSES
        self.by_duration = [0] * (len(BOUNDS_SECONDS) + 1)
        self.seconds = 0.0
        self.sent_bytes = 0
        self.broken = 0
        self.own: dict[int, int] = {}

    def count_response(self, status: int, sent_bytes: int, seconds: float) -> None:
        """Count an exchange whose response was relayed completely.

        Args:
            status: the response's status code.
            sent_bytes: the bytes of the body that were sent.
            seconds: the duration of the exchange.
        """
        status_class = status // 100
        self.by_class[status_class] += 1
        self.sent_bytes += sent_bytes
        if status_class != _SWITCHING:
            self.by_duration[bisect_left(BOUNDS_SECONDS, seconds)] += 1
            self.seconds += seconds

    def count_refusal(self, status: int) -> None:
        """Count a request that rainbowd answered itself with ``status``."""
        self.by_class[status // 100] += 1
        self.own[status] = self.own.get(status, 0) + 1

    def add(self, other: Traffic) -> None:
        """Add the counters of ``other``, which another process has counted."""
        for counts, others in ((self.by_class, other.by_class), (self.by_duration, other.by_duration)):
            for index, count in enumerate(others):
                counts[index] += count
        self.seconds += other.seconds
        self.sent_bytes += other.sent_bytes
        self.broken += other.broken
        for status, count in other.own.items():
            self.own[status] = self.own.get(status, 0) + count

    @property
    def exchanges(self) -> int:
        """The number of all exchanges."""
        return sum(self.by_class)

    def count_cut(self, status: int, sent_bytes: int, *, by_client: bool) -> None:
        """Count an exchange whose response is incomplete.

        Args:
            status: the response's status code; 0 if none began.
            sent_bytes: the bytes of the body that were sent.
            by_client: whether the client broke it off; otherwise the app did.
        """
        self.by_class[GONE if by_client else status // 100] += 1
        self.sent_bytes += sent_bytes
        self.broken += not by_client
