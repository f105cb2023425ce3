"""Requests in number, by wrk, and single ones of our own to check what the proxy does with them."""

from __future__ import annotations

import http.client
import re
import secrets
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.machine import HOST, BenchError, Server, find

SCRIPT = Path(__file__).parent / "wrk.lua"
HEADS = ("short", "browser")
ANSWER = b"hello world\n"
TIMEOUT_SECONDS = 30.0
SETTLE_SECONDS = 0.05
QUIET_TIMES = 3
SLACK = 500
"""Our own questions, and what an earlier load left to a proxy that was kept from its core longer than we waited."""
_LINE = re.compile(r"^measured requests=(\d+) seconds=([\d.]+) p50_us=(\d+) p99_us=(\d+) errors=(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    errors: int


@dataclass(frozen=True)
class Cost:
    """A load and what it cost the proxy.

    Attributes:
        cpu_us: the proxy's CPU time a request.
        busy: the share of the time that the proxy was running; well below 1 the load set the pace, not the proxy.
    """

    load: Load
    cpu_us: float
    busy: float


def parse(output: str) -> Load:
    """What the script prints at its end.

    Raises:
        BenchError: it printed nothing of the kind.
    """
    found = _LINE.search(output)
    if found is None:
        raise BenchError(f"wrk printed no measurement but: {output[-500:].strip()}")
    requests, seconds, p50, p99, errors = found.groups()
    return Load(int(requests), float(seconds), float(p50), float(p99), int(errors))


def run(port: int, head: str, connections: int, *, seconds: float, seed: int) -> Load:
    """Load a port, from the core that this process is on.

    Args:
        seconds: whole ones, as wrk has it; less than one is one.
        seed: another one, other paths and cookies.

    Raises:
        BenchError: a request failed, or none was answered.
    """
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(SCRIPT)]
    command = [find("wrk") or "wrk", *options, f"http://{HOST}:{port}/", "--", head, str(seed)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    load = parse(outcome.stdout + outcome.stderr)
    if load.errors or not load.requests:
        raise BenchError(f"{load.errors} of {load.requests} requests failed ({connections} connections, {head} heads)")
    return load


class Measured(Protocol):
    """A proxy, of which only some processes may count."""

    @property
    def port(self) -> int:
        """The port that it listens on."""

    def cpu_seconds(self) -> float:
        """What it has used so far."""


def measure(proxy: Measured, app: Server, head: str, connections: int, *, seconds: float, seed: int) -> Cost:
    """Load a proxy, and hold what wrk counted against what the upstream did.

    Raises:
        BenchError: they disagree, or a request failed.
    """
    answered, spent = _answered(app), proxy.cpu_seconds()
    load = run(proxy.port, head, connections, seconds=seconds, seed=seed)
    spent = proxy.cpu_seconds() - spent
    answered = _answered(app) - answered
    # The upstream also counts those whose answers wrk no longer waited for.
    if not load.requests <= answered <= load.requests + connections + SLACK:
        raise BenchError(f"wrk had {load.requests} answers of which the upstream gave {answered}")
    return Cost(load, spent / load.requests * 1e6, spent / load.seconds)


def check(port: int) -> None:
    """See that a request reaches the upstream as it was sent, with X-Forwarded-For, and the answer comes back whole.

    Raises:
        BenchError: otherwise.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    for head in HEADS:
        path = f"/{head}/{secrets.token_hex(8)}"
        if (body := _get(connection, path)) != ANSWER:
            raise BenchError(f"{path} was answered {body[:100]!r}")
    path = f"/echo/{secrets.token_hex(8)}?a=b%20c"
    if (body := _get(connection, path)) != f"{path} {HOST}\n".encode():
        raise BenchError(f"{path} reached the upstream as {body[:100]!r}")
    connection.close()


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{path} was not answered: {error}") from error


def _answered(app: Server) -> int:
    """Return how many requests reached the upstream, once that no longer grows: wrk may leave some in flight."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    count, quiet = _asked(app), 0
    while quiet < QUIET_TIMES and time.monotonic() < deadline:
        time.sleep(SETTLE_SECONDS)
        before, count = count, _asked(app)
        quiet = quiet + 1 if count == before + 1 else 0
    return count


def _asked(app: Server) -> int:
    """The requests the upstream has had, with this one: ngx_http_stub_status_module."""
    connection = http.client.HTTPConnection(HOST, app.port, timeout=TIMEOUT_SECONDS)
    status = _get(connection, "/status").decode()
    connection.close()
    return int(status.splitlines()[2].split()[2])
