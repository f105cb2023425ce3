"""The metrics for Prometheus: each scrape reads what the agent counts anyway, so nothing is stored twice.

Label sets are bounded: counters of traffic have no generation label, gauges have one for each generation alive.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from rainbowd import __version__
from rainbowd.api.event_counters import SPANS_SECONDS, EventCounters
from rainbowd.api.fleet_metrics import fleet_metrics
from rainbowd.compiled import is_compiled
from rainbowd.log import get_logger
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from rainbowd.api.backend import MetricSources
    from rainbowd.report.resource_usage import ResourceUsage
    from rainbowd.roster import Generation, KeptProcesses

GONE = 0
CLASSES = {GONE: "gone", 1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}
OTHER = "other"
STATES = [state.value for state in State if state is not State.RETIRED]

log = get_logger()


class Metrics(Collector):
    """A collector that reads the agent's numbers at each scrape.

    Args:
        sources: the agent's numbers.

    Attributes:
        registry: contains these metrics only, not those of the default registry.
        usage: memory and CPU of each generation, read before a scrape.
    """

    def __init__(self, sources: MetricSources) -> None:
        self.registry = CollectorRegistry()
        self.usage: Mapping[int, ResourceUsage] = {}
        self._sources = sources
        self._counters = EventCounters()
        sources.observe(self._count)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def _count(self, event: str, fields: Mapping[str, object]) -> None:
        """Count an event; an exception here must not reach the journal's writer."""
        try:
            self._counters.count(event, fields)
        except Exception as bug:
            log.error("bug: an event was not counted", name=event, exc_info=bug)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric except those of the agent's own process."""
        yield InfoMetricFamily(
            "rainbowd_build",
            "What runs",
            {
                "version": __version__,
                "python": platform.python_version(),
                "compiled": "yes" if is_compiled() else "no",
            },
        )
        yield from self._traffic()
        yield from self._proxy()
        yield from self._generations(self._sources.roster.generations.values())
        yield from self._deploys()
        yield from fleet_metrics(self._sources.fleet())

    def _traffic(self) -> Iterator[Metric]:
        traffic = self._sources.traffic
        requests = CounterMetricFamily(
            "rainbowd_requests", "Exchanges, by the class of their status", labels=["status"]
        )
        counts = {label: traffic.by_class[index] for index, label in CLASSES.items()}
        counts[OTHER] = sum(traffic.by_class[len(CLASSES) :])
        for label, count in counts.items():
            requests.add_metric([label], count)
        yield requests
        own = CounterMetricFamily("rainbowd_own_answers", "Answers that were rainbowd's own", labels=["status"])
        for status, count in sorted(traffic.own.items()):
            own.add_metric([str(status)], count)
        yield own
        yield _histogram(
            "rainbowd_request_duration_seconds",
            "From a request's head to the end of the app's answer",
            traffic.bounds_seconds,
            traffic.by_duration,
            traffic.seconds,
        )
        yield CounterMetricFamily("rainbowd_sent_body_bytes", "Bodies to clients", value=traffic.sent_bytes)
        yield CounterMetricFamily("rainbowd_broken_answers", "Answers that the app broke off", value=traffic.broken)

    def _proxy(self) -> Iterator[Metric]:
        now = self._sources.proxy()
        for name, text, value in (
            ("connections", "Open connections of clients", now.connections),
            ("connections_limit", "How many of them there may be", now.connections_max),
            ("waiting_requests", "Requests that are held, as nothing is live", now.waiting),
            ("idle_upstreams", "Connections to the app that are kept for the next request", now.idle),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"rainbowd_{name}", text, value=value)
        for name, text, count in (
            ("held_requests", "Requests that were held, as nothing was live", now.held),
            ("opened_upstreams", "Connections to the app that were begun", now.opened),
            ("retries", "Requests sent again, as a kept connection was dead", now.retries),
        ):
            yield CounterMetricFamily(f"rainbowd_{name}", text, value=count)
        yield from _workers(now.processes)

    def _generations(self, generations: Iterable[Generation]) -> Iterator[Metric]:
        alive = list(generations)
        states = GaugeMetricFamily("rainbowd_generations", "Generations alive, by state", labels=["state"])
        for state in STATES:
            states.add_metric([state], sum(generation.state == state for generation in alive))
        yield states
        live = self._sources.roster.live
        yield GaugeMetricFamily(
            "rainbowd_live_generation", "The number of the live generation; 0: none", value=live.id if live else 0
        )
        yield GaugeMetricFamily(
            "rainbowd_canary_share",
            "The percentage of clients that the canary gets; 0: no canary",
            value=self._sources.roster.share_percent,
        )
        yield _by_generation("requests", "Leases that it was given", {one.id: one.requests for one in alive})
        errors = CounterMetricFamily(
            "rainbowd_generation_errors", "Requests that the app failed", labels=["generation"]
        )
        for one in alive:
            errors.add_metric([str(one.id)], one.errors)
        yield errors
        yield _by_generation("in_flight", "Exchanges under way", {one.id: len(one.holders) for one in alive})
        yield _by_generation("tunnels", "Tunnels that are open", {one.id: len(one.tunnels) for one in alive})
        yield _by_generation(
            "started_timestamp_seconds", "When it was launched", {one.id: one.started_at for one in alive}
        )
        taken = {one.id: self.usage[one.id] for one in alive if one.id in self.usage}
        for name, text in (
            ("processes", "Processes of the generation"),
            ("memory_bytes", "Resident memory of its processes"),
            ("cpu_seconds", "CPU time of its processes"),
        ):
            yield _by_generation(name, text, {number: getattr(usage, name) for number, usage in taken.items()})

        yield from _processes(alive, self._sources.kept())

    def _deploys(self) -> Iterator[Metric]:
        counters = self._counters
        deploys = CounterMetricFamily("rainbowd_deploys", "Deploys decided", labels=["trigger", "result"])
        for labels, count in sorted(counters.deploys.items()):
            deploys.add_metric(labels, count)
        yield deploys
        result = self._sources.last_result()
        yield GaugeMetricFamily(
            "rainbowd_last_deploy_failed", "Whether the last deploy failed", value=float(result == "failed")
        )
        for name, text, span in (
            ("boot", "From a launch to healthy", counters.boot),
            ("switch", "From healthy to live", counters.switch),
            ("drain", "From the switch away to the end of the last request", counters.drain),
        ):
            yield _histogram(f"rainbowd_{name}_duration_seconds", text, SPANS_SECONDS, span.counts, span.seconds)
        yield CounterMetricFamily("rainbowd_crashes", "Live generations that died", value=counters.crashes)
        yield CounterMetricFamily("rainbowd_kills", "Generations that had to be killed", value=counters.killed)
        yield CounterMetricFamily("rainbowd_waits", "Deploys that waited for a slot", value=counters.waits)
        yield CounterMetricFamily(
            "rainbowd_failed_bakes",
            "Releases that failed after they went live, so that the previous one is live again",
            value=counters.failed_bakes,
        )
        yield CounterMetricFamily(
            "rainbowd_failed_canaries",
            "Releases that failed with a share of the clients",
            value=counters.failed_canaries,
        )


def _processes(generations: Sequence[Generation], kept: KeptProcesses | None) -> Iterator[Metric]:
    """Yield the metrics of companion processes."""
    labels = ["generation", "process", "process_instance"]  # Prometheus has an instance of its own
    up = GaugeMetricFamily("rainbowd_process_up", "Whether a companion process runs", labels=labels)
    restarts = CounterMetricFamily(
        "rainbowd_process_restarts", "How often a companion process was started again", labels=labels
    )
    found = [(generation.id, generation.processes) for generation in generations]
    for owner, processes in [*found, *([] if kept is None else [kept])]:
        for process in processes:
            values = [str(owner), process.name, str(process.instance)]
            up.add_metric(values, float(process.pid is not None))
            restarts.add_metric(values, process.restarts)
    yield from (up, restarts)


def _workers(processes: Sequence[Mapping[str, int | None]]) -> Iterator[Metric]:
    """Yield the metrics of each process that serves; the agent is worker 0."""
    requests = CounterMetricFamily("rainbowd_worker_requests", "Exchanges of one process", labels=["worker"])
    connections = GaugeMetricFamily("rainbowd_worker_connections", "Open connections of one process", labels=["worker"])
    for index, process in enumerate(processes):
        requests.add_metric([str(index)], process["requests"] or 0)
        connections.add_metric([str(index)], process["connections"] or 0)
    if processes:
        yield from (requests, connections)


def _by_generation(name: str, text: str, values: Mapping[int, float]) -> Metric:
    family = GaugeMetricFamily(f"rainbowd_generation_{name}", text, labels=["generation"])
    for number, value in values.items():
        family.add_metric([str(number)], value)
    return family


def _histogram(
    name: str, text: str, bounds: Sequence[float], counts: Sequence[int], seconds: float
) -> HistogramMetricFamily:
    """Return a histogram with cumulative buckets, as Prometheus has them."""
    buckets, total = [], 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=seconds)
