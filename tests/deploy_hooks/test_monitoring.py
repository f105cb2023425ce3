"""The dashboard and the alert rules: judged by promtool, and asked of a real Prometheus that scrapes a real agent."""

from __future__ import annotations

import contextlib
import http
import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.agent import ROOT, free_port, needs, running
from tests.live.api import Caller, enabled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MONITORING = ROOT / "deploy-hooks" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
PATIENCE_SECONDS = 60.0

FLEET = {f"rainbowd_fleet_{name}" for name in ("engine_up", "by_hand", "members", "rollout_phase")}
"""What only a member of a fleet serves; tests/api holds it."""

EMPTY = {
    # of what has not happened yet there is no series
    "rainbowd_own_answers_total",
    "rainbowd_process_up",  # this site has no companion processes
    "rainbowd_process_restarts_total",
}


def queries() -> list[str]:
    """What the dashboard asks, with its variables filled in as Grafana does."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    found += [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    return [query.replace("$__rate_interval", "1m").replace("$instance", ".*") for query in found]


def named(text: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\brainbowd_\w+", text)}


def test_promtool_finds_nothing_wrong() -> None:
    promtool = needs("promtool")
    for words in (
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ):
        judged = subprocess.run([promtool, *words], cwd=MONITORING, capture_output=True, text=True, check=False)
        assert judged.returncode == 0, f"{words}: {judged.stdout}{judged.stderr}"


def test_no_two_panels_lie_on_each_other() -> None:
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


class Prometheus:
    """A real one, that scrapes twice a second."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE:
                raise ConnectionError("it is starting") from None
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        assert told["status"] == "success"
        return told["data"]

    def until(self, query: str) -> None:
        """Wait until a query has an answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if self.ask("query", query=query)["result"]:
                    return
            assert time.monotonic() < deadline, f"nothing came of {query}"
            time.sleep(0.1)


@contextlib.contextmanager
def scraping(directory: Path, api: Caller) -> Iterator[Prometheus]:
    """Prometheus with the configuration that is shipped, but for where things are."""
    directory.mkdir()
    config = (MONITORING / "prometheus.yml").read_text()
    config = config.replace("localhost:7001", f"127.0.0.1:{api.port}")
    config = config.replace("/etc/prometheus/rainbowd.token", str(api.agent.state_dir / "token"))
    config = f"global: {{ scrape_interval: 500ms, evaluation_interval: 500ms }}\n{config}"
    (directory / "prometheus.yml").write_text(config)
    (directory / "alerts.yml").write_text((MONITORING / "alerts.yml").read_text())
    port = free_port()
    command = [
        needs("prometheus"),
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL) as process:
        try:
            yield Prometheus(port)
        finally:
            process.terminate()


@pytest.mark.live
def test_a_real_prometheus_has_an_answer_to_all_that_is_asked(tmp_path: Path) -> None:
    needs("prometheus")
    port = free_port()
    (tmp_path / "site").mkdir()
    with running(tmp_path / "site", **enabled(port)) as agent:
        api = Caller(agent, port)
        api.until_it_listens()
        with scraping(tmp_path / "prometheus", api) as prometheus:
            assert api.deploy().status == 200
            prometheus.until("rainbowd_live_generation == 2")
            prometheus.until('rainbowd_deploys_total{trigger="api"} == 1')
            prometheus.until("rate(rainbowd_requests_total[1m])")
            served = named(api.call("GET", "/metrics").body.decode())
            for query in queries():
                assert named(query) <= served | EMPTY, query
                prometheus.ask("query", query=query)
                if not named(query) & EMPTY and not query.endswith("> 0"):  # an annotation
                    prometheus.until(query)
            assert named((MONITORING / "alerts.yml").read_text()) <= served | FLEET
            rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
            assert len(rules) == (MONITORING / "alerts.yml").read_text().count("- alert: ")
            assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
            told = named((MONITORING / "README.md").read_text())
            assert {name for name in told if not name.endswith("_")} <= served | EMPTY | FLEET
