from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from rainbowd import __version__
from rainbowd.address import TcpAddress
from rainbowd.api.backend import ProxyCounters
from rainbowd.compiled import is_compiled
from rainbowd.report.resource_usage import ResourceUsage
from rainbowd.roster import Generation, KeptProcesses, ProcessStatus, State
from rainbowd.roster.traffic import BOUNDS_SECONDS, GONE
from tests.live.agent import needs

if TYPE_CHECKING:
    from tests.api.conftest import FakeAgent

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(agent: FakeAgent) -> Samples:
    answer = await agent.call("GET", "/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"rainbowd_{name}", frozenset(labels.items())]


def generation(number: int, **fields: Any) -> Generation:
    return Generation(number, Path("/srv/a"), TcpAddress("127.0.0.1", 1), **fields)


async def test_traffic_is_counted_by_class_and_without_a_generation(agent: FakeAgent) -> None:
    agent.traffic.by_class[2] = 7
    agent.traffic.by_class[GONE] = 2
    agent.traffic.by_class[9] = 1
    agent.traffic.own = {503: 3}
    agent.traffic.sent_bytes = 5000
    agent.proxy = ProxyCounters(9, 100, 2, 30, 4, 50, 6)
    samples = await scraped(agent)
    found = {status: value(samples, "requests_total", status=status) for status in ("2xx", "gone", "other", "5xx")}
    assert found == {"2xx": 7, "gone": 2, "other": 1, "5xx": 0}
    assert value(samples, "own_answers_total", status="503") == 3
    assert value(samples, "sent_body_bytes_total") == 5000
    names = "connections", "connections_limit", "waiting_requests", "held_requests_total", "idle_upstreams"
    assert [value(samples, name) for name in names] == [9, 100, 2, 30, 4]
    assert [value(samples, name) for name in ("opened_upstreams_total", "retries_total")] == [50, 6]
    build = {"version": __version__, "python": platform.python_version(), "compiled": "yes" if is_compiled() else "no"}
    assert value(samples, "build_info", **build) == 1


async def test_companion_processes_are_shown_with_those_of_a_crashed_app(agent: FakeAgent) -> None:
    workers = [ProcessStatus("worker", 1, pid=70, restarts=2), ProcessStatus("worker", 2)]
    agent.roster.add(generation(3, processes=workers))
    agent.kept = KeptProcesses(2, [ProcessStatus("beat", 1, pid=60, restarts=5)])
    samples = await scraped(agent)
    shown = [("3", "worker", "1"), ("3", "worker", "2"), ("2", "beat", "1")]
    labels = [dict(zip(("generation", "process", "process_instance"), one, strict=True)) for one in shown]
    assert [value(samples, "process_up", **one) for one in labels] == [1, 0, 1]
    assert [value(samples, "process_restarts_total", **one) for one in labels] == [2, 0, 5]


async def test_each_process_is_shown_if_several_serve(agent: FakeAgent) -> None:
    assert not [one for one in await scraped(agent) if "worker" in one[0]]
    processes: list[dict[str, int | None]] = [
        {"pid": 10, "connections": 4, "requests": 70},
        {"pid": None, "connections": 0, "requests": 30},
    ]
    agent.proxy = ProxyCounters(4, None, 0, 0, 0, 0, 0, processes)
    samples = await scraped(agent)
    assert [value(samples, "worker_requests_total", worker=str(index)) for index in (0, 1)] == [70, 30]
    assert value(samples, "worker_connections", worker="0") == 4


async def test_the_buckets_of_a_histogram_are_cumulative(agent: FakeAgent) -> None:
    agent.traffic.by_duration[0] = 5
    agent.traffic.by_duration[2] = 2
    agent.traffic.by_duration[-1] = 1
    agent.traffic.seconds = 40.5
    samples = await scraped(agent)
    buckets = [value(samples, "request_duration_seconds_bucket", le=str(bound)) for bound in BOUNDS_SECONDS]
    assert buckets == [5, 5, *[7] * (len(BOUNDS_SECONDS) - 2)]
    assert value(samples, "request_duration_seconds_bucket", le="+Inf") == 8
    assert value(samples, "request_duration_seconds_count") == 8
    assert value(samples, "request_duration_seconds_sum") == 40.5


async def test_gauges_know_the_generations_that_are_alive_and_no_others(agent: FakeAgent) -> None:
    old, new = generation(3, started_at=5.0), generation(4)
    for one in (old, new):
        agent.roster.add(one)
        agent.roster.promote(one, live_at=1.0)
    new.requests = 12
    new.errors = 3
    agent.usage = {4: ResourceUsage(2, 1 << 20, 1.5)}
    samples = await scraped(agent)
    assert value(samples, "live_generation") == 4
    assert [value(samples, "generations", state=state) for state in ("live", "draining", "standby")] == [1, 1, 0]
    assert value(samples, "generation_requests", generation="4") == 12
    assert value(samples, "generation_errors_total", generation="4") == 3
    assert value(samples, "generation_started_timestamp_seconds", generation="3") == 5
    assert value(samples, "generation_memory_bytes", generation="4") == 1 << 20
    assert ("rainbowd_generation_memory_bytes", frozenset({("generation", "3")})) not in samples
    assert value(samples, "canary_share") == 0
    agent.roster.advance(old, State.STOPPING)
    agent.roster.advance(old, State.RETIRED)
    samples = await scraped(agent)
    assert not [labels for _, labels in samples if ("generation", "3") in labels]


async def test_deploys_are_counted_by_trigger_and_result(agent: FakeAgent) -> None:
    (tell,) = agent.observers
    tell("deploy.requested", {"deploy": "x", "trigger": "symlink"})
    tell("deploy.waiting", {"deploy": "x"})
    tell("generation.live", {"generation": 2, "boot_seconds": 0.2, "switch_seconds": 0.001})
    tell("generation.live", {"generation": 1, "boot_seconds": 0.2, "switch_seconds": None})  # a standby
    tell("generation.live", {"generation": 1, "boot_seconds": None, "switch_seconds": None})  # an adopted one
    tell("deploy.succeeded", {"deploy": "x", "trigger": "api"})
    tell("deploy.failed", {"deploy": "of an agent before", "trigger": "file"})
    tell("deploy.failed", {"deploy": "of a version before", "trigger": None})
    tell("generation.retired", {"generation": 1, "drain_seconds": 4.0, "killed": True})
    tell("generation.crashed", {"generation": 2})
    tell("made.up", {})
    agent.last_result = "failed"
    samples = await scraped(agent)
    assert value(samples, "deploys_total", trigger="api", result="succeeded") == 1
    assert value(samples, "deploys_total", trigger="file", result="failed") == 1
    assert value(samples, "deploys_total", trigger="unknown", result="failed") == 1
    assert value(samples, "last_deploy_failed") == 1
    assert [value(samples, f"{name}_duration_seconds_count") for name in ("boot", "switch", "drain")] == [1, 1, 1]
    assert value(samples, "drain_duration_seconds_bucket", le="5.0") == 1
    assert [value(samples, f"{name}_total") for name in ("crashes", "kills", "waits")] == [1, 1, 1]


async def test_failed_canaries_and_bakes_are_counted_apart_from_other_failures(agent: FakeAgent) -> None:
    (tell,) = agent.observers
    tell("deploy.failed", {"deploy": "x", "rolled_back_to": None, "canary_share": None})
    for share in (5, 25):
        tell("deploy.failed", {"deploy": "x", "rolled_back_to": None, "canary_share": share})
    tell("deploy.failed", {"deploy": "x", "rolled_back_to": 3, "canary_share": None})
    samples = await scraped(agent)
    assert [value(samples, f"failed_{name}_total") for name in ("canaries", "bakes")] == [2, 1]


async def test_an_event_that_cannot_be_counted_does_not_disturb_the_journal(agent: FakeAgent) -> None:
    (tell,) = agent.observers
    tell("deploy.requested", {"deploy": [], "trigger": "unhashable"})
    tell("generation.retired", {"drain_seconds": "long"})
    assert value(await scraped(agent), "drain_duration_seconds_count") == 0


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0,*/*;q=0.1", "application/openmetrics-text")],
)
async def test_the_scraper_gets_the_format_that_it_accepts(agent: FakeAgent, accept: str, media_type: str) -> None:
    answer = await agent.call("GET", "/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.text.endswith("# EOF\n") == (media_type != "text/plain")


async def test_nothing_of_it_is_the_process_s_own(agent: FakeAgent) -> None:
    assert not [name for name in REGISTRY._names_to_collectors if name.startswith("rainbowd")]
    samples = await scraped(agent)
    assert ("process_resident_memory_bytes", frozenset()) in samples


async def test_promtool_finds_nothing_wrong(agent: FakeAgent) -> None:
    promtool = needs("promtool")
    agent.roster.add(generation(1))
    agent.traffic.own = {400: 1}
    text = (await agent.call("GET", "/metrics")).content
    judged = await trio.run_process(
        [promtool, "check", "metrics"], stdin=text, capture_stdout=True, capture_stderr=True, check=False
    )
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, b"", b"")
