"""The load of the last hour, for the page: a sample every five seconds."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

import trio

from rainbowd.log import get_logger
from rainbowd.timestamp import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rainbowd.api.backend import MetricSources

SAMPLE_SECONDS = 5.0
KEPT_SECONDS = 3600.0

log = get_logger()


class GenerationLoad(TypedDict):
    """The load of one generation, as in ``status.json``."""

    id: int
    in_flight: int
    tunnels: int
    requests: int


class LoadSample(TypedDict):
    """The load at one moment.

    ``half_seconds`` and ``most_seconds`` are the median and the 95th percentile of the durations of requests since the
    previous sample; None if there was no request.
    """

    at: str
    generations: list[GenerationLoad]
    half_seconds: float | None
    most_seconds: float | None


class LoadSampler:
    """The samples of the last hour, and the task that takes them.

    Args:
        sources: the agent's own numbers.
    """

    def __init__(self, sources: MetricSources) -> None:
        self._sources = sources
        self._samples: deque[LoadSample] = deque(maxlen=int(KEPT_SECONDS / SAMPLE_SECONDS))
        self._durations = list(sources.traffic.by_duration)

    async def run(self) -> None:
        """Take a sample every ``SAMPLE_SECONDS`` until cancelled."""
        while True:
            try:
                self.take_sample(datetime.now(UTC))
            except Exception as bug:
                log.error("bug: the load was not sampled", exc_info=bug)
            await trio.sleep(SAMPLE_SECONDS)

    def take_sample(self, now: datetime) -> None:
        """Take a sample of the present load.

        Args:
            now: the time of the sample.
        """
        alive = self._sources.roster.generations.values()
        durations = list(self._sources.traffic.by_duration)
        counts = [count - before for count, before in zip(durations, self._durations, strict=True)]
        self._durations = durations
        bounds = self._sources.traffic.bounds_seconds
        self._samples.append(
            LoadSample(
                at=timestamp(now),
                generations=[
                    GenerationLoad(
                        id=one.id, in_flight=len(one.holders), tunnels=len(one.tunnels), requests=one.requests
                    )
                    for one in alive
                ],
                half_seconds=quantile(bounds, counts, 0.5),
                most_seconds=quantile(bounds, counts, 0.95),
            )
        )

    def after(self, at: str) -> list[LoadSample]:
        """Return the samples that are younger than a time, oldest first.

        Args:
            at: a time in the format of a sample; empty for all samples.
        """
        return [sample for sample in self._samples if sample["at"] > at]


def quantile(bounds_seconds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return a quantile of a histogram, in seconds; None if the histogram is empty.

    Values are assumed to be spread evenly within a bucket; values above the last bound count as that bound.

    Args:
        bounds_seconds: the upper bounds of all buckets but the last.
        counts: by bucket.
        share: from 0 to 1.
    """
    wanted, lower = sum(counts) * share, 0.0
    if not wanted:
        return None
    for bound, count in zip(bounds_seconds, counts, strict=False):
        if count >= wanted:
            return round(lower + (bound - lower) * wanted / count, 6)
        wanted, lower = wanted - count, bound
    return lower
