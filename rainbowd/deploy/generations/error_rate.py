"""The judgement of a new generation by its counts of requests and errors. Plain functions: no clock, no I/O.

A generation fails if it has enough errors to exclude chance, if their rate is too high, and if the rate is clearly
higher than that of the generation that it is compared with. So neither a single error at night, nor an error that every
release has, fails a deploy.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMES_BEFORE = 2
"""How many times higher than before an error rate must be to count as worse."""
SAMPLES = 60
"""How many earlier moments are kept."""


class Thresholds(Protocol):
    """The limits that a config sets for an error rate.

    Attributes:
        max_error_rate: the lowest rate that fails, from 0 to 1.
        min_errors: the smallest number of errors that fails.
    """

    @property
    def max_error_rate(self) -> float: ...  # noqa: D102 - see the class

    @property
    def min_errors(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Counts:
    """A number of requests, and how many of them failed."""

    requests: int = 0
    errors: int = 0

    @property
    def rate(self) -> float:
        """The part of the requests that failed, from 0 to 1; 0 without requests."""
        return self.errors / self.requests if self.requests else 0.0

    def since(self, earlier: Counts) -> Counts:
        """Return the increase from ``earlier`` to these counts."""
        return Counts(self.requests - earlier.requests, self.errors - earlier.errors)


def is_failing(thresholds: Thresholds, new: Counts, compared: Counts) -> bool:
    """Return whether a new generation has failed.

    Args:
        thresholds: the limits of the config.
        new: the counts of the new generation since it got requests.
        compared: the counts of the generation that it is compared with.
    """
    return (
        new.errors >= thresholds.min_errors
        and new.rate >= thresholds.max_error_rate
        and new.rate >= TIMES_BEFORE * compared.rate
    )


def describe_failure(new: Counts, compared: Counts, *, where: str, failures: Mapping[str, int]) -> str:
    """Return the counts in words: ``17 of 80 requests failed (21 %; 0.2 % before the switch), most of them ...``.

    Args:
        new: the counts of the new generation.
        compared: the counts that they are compared with.
        where: which requests those were, such as ``before the switch``.
        failures: how often each request failed, such as ``GET /basket: 500``.
    """
    told = f"{new.errors} of {new.requests} requests failed ({_percent(new.rate)}; {_percent(compared.rate)} {where})"
    if not failures:
        return told
    failed, count = max(failures.items(), key=lambda item: item[1])
    return f"{told}, {'most of them' if 2 * count > new.errors else 'most often'} {failed}"


def _percent(rate: float) -> str:
    """Return a rate in percent, with a digit after the point if it is small."""
    percent = 100 * rate
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f}".removesuffix(".0") + " %"  # noqa: PLR2004


class RecentCounts:
    """The counts of the live generation at earlier moments.

    Args:
        seconds: how far back they reach.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._samples: deque[tuple[float, Counts]] = deque()

    def add(self, at: float, counts: Counts) -> None:
        """Keep ``counts`` as those of the moment ``at``, in seconds of a clock that never goes back."""
        samples = self._samples
        if samples and at - samples[-1][0] < self._seconds / SAMPLES:
            return
        samples.append((at, counts))
        while len(samples) > 1 and samples[1][0] <= at - self._seconds:
            samples.popleft()

    def over(self, seconds: float, now: float, counts: Counts) -> Counts:
        """Return the increase over the last ``seconds``, or since the first sample if that is later.

        Args:
            seconds: the length of the time.
            now: its end, by the clock of the samples.
            counts: the present counts.
        """
        if not self._samples:
            return counts
        before = [earlier for at, earlier in self._samples if at <= now - seconds]
        return counts.since(before[-1] if before else self._samples[0][1])
