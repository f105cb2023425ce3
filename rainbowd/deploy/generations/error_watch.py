"""The watch over a generation that gets real requests for the first time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rainbowd.deploy.generations.error_rate import Counts, describe_failure, is_failing

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.deploy.generations.error_rate import Thresholds
    from rainbowd.roster import Generation

FAILURES_MAX = 100
"""How many different failures are counted, so that an attacker's paths do not fill the memory."""


class ErrorWatch:
    """The counts of the requests and errors of one generation, from now on.

    Args:
        generation: is watched until ``close``.
        thresholds: what fails.
        compared: returns the counts to compare with.
        on_failing: called at each error while the generation fails.
        where: what the compared counts are, for the reason: ``before the switch``.
    """

    def __init__(
        self,
        generation: Generation,
        thresholds: Thresholds,
        compared: Callable[[], Counts],
        on_failing: Callable[[], None],
        *,
        where: str,
    ) -> None:
        self._generation = generation
        self._begin = counts_of(generation)
        self._thresholds = thresholds
        self._compared = compared
        self._on_failing = on_failing
        self._where = where
        self._failures: Counter[str] = Counter()
        generation.on_error = self._on_error

    @property
    def counts(self) -> Counts:
        """The requests and errors since the watch began."""
        return counts_of(self._generation).since(self._begin)

    def close(self) -> None:
        """End the watch over the generation."""
        self._generation.on_error = None

    def describe(self) -> str:
        """Return the counts in words, with the most frequent failure."""
        return describe_failure(self.counts, self._compared(), where=self._where, failures=self._failures)

    def check(self) -> None:
        """Call ``on_failing`` if the generation fails now."""
        if is_failing(self._thresholds, self.counts, self._compared()):
            self._on_failing()

    def _on_error(self, failed: str) -> None:
        if failed in self._failures or len(self._failures) < FAILURES_MAX:
            self._failures[failed] += 1
        self.check()


def counts_of(generation: Generation | None) -> Counts:
    """Return the requests and errors of a generation so far; zero for none."""
    return Counts() if generation is None else Counts(generation.requests, generation.errors)
