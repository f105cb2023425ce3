"""An API in front of an agent that is none, called without a network."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from rainbowd.api.backend import ApiBackend, MetricSources, ProxyCounters
from rainbowd.api.guard import Guard
from rainbowd.api.load_samples import LoadSampler
from rainbowd.api.metrics import Metrics
from rainbowd.api.routes import make_app
from rainbowd.api.token import Token
from rainbowd.report.outcome import Outcome, RequestedDeploy
from rainbowd.roster import KeptProcesses, Roster, Traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from rainbowd.report.resource_usage import ResourceUsage

TOKEN = "correct-horse-battery"
ADMITTED = {"Authorization": f"Bearer {TOKEN}"}


SUCCEEDED = Outcome("succeeded", 2, Path("/srv/releases/b"))


@dataclass
class Deploy:
    """The deploy that the agent is asked for; it ends with ``decide``."""

    finished: trio.Event = field(default_factory=trio.Event)
    outcome: Outcome = SUCCEEDED

    def decide(self, outcome: Outcome = SUCCEEDED) -> None:
        self.outcome = outcome
        self.finished.set()

    async def wait(self) -> Outcome:
        await self.finished.wait()
        return self.outcome


class FakeAgent:
    """Remembers what it was asked for; ``refusal`` is raised instead of that."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.asked: list[tuple[str, ...]] = []
        self.deploy = Deploy()
        self.refusal: Exception | None = None
        self.written = trio.Event()
        self.stop = trio.Event()
        self.roster = Roster()
        self.traffic = Traffic()
        self.proxy = ProxyCounters(0, None, 0, 0, 0, 0, 0)
        self.usage: dict[int, ResourceUsage] = {}
        self.observers: list[Callable[[str, Mapping[str, object]], None]] = []
        self.last_result: str | None = None
        self.kept: KeptProcesses | None = None
        self.settled = 0
        self.metrics = Metrics(self.controls().sources)
        self.load = LoadSampler(self.controls().sources)
        self.status: dict[str, Any] = {
            "agent": {
                "name": "shop",
                "pid": 5,
                "version": "1",
                "started_at": "2026-11-23T10:00:00.000Z",
                "listen": ["127.0.0.1:7000"],
                "state": "ready",
            },
            "live": None,
            "wanted": None,
            "last_deploy": None,
            "generations": [],
        }

    async def redeploy(self, release: str | None, note: str | None, _by: str | None, is_now: bool) -> RequestedDeploy:
        return self._ask("redeploy", release, note, *(["now"] if is_now else []))

    async def settle(self) -> None:
        self.settled += 1

    async def rollback(self, note: str | None, _by: str | None) -> RequestedDeploy:
        return self._ask("rollback", note)

    def _ask(self, *words: str | None) -> RequestedDeploy:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(tuple("-" if word is None else word for word in words))
        return RequestedDeploy("d1", self.deploy.wait)

    def controls(self) -> ApiBackend:
        return ApiBackend(
            state_dir=self.state_dir,
            status=lambda: self.status,
            redeploy=self.redeploy,
            rollback=self.rollback,
            sources=MetricSources(
                self.roster,
                self.traffic,
                lambda: self.proxy,
                lambda: self.usage,
                self.observers.append,
                lambda: self.last_result,
                kept=lambda: self.kept,
            ),
            settle=self.settle,
            journal_written=lambda: self.written,
        )

    def app(self) -> Guard:
        return Guard(make_app(self.controls(), self.metrics, self.load, self.stop), Token(TOKEN.encode()))

    @contextlib.asynccontextmanager
    async def client(self, headers: dict[str, str] | None = None) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app())
        given = ADMITTED if headers is None else headers
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=given) as client:
            yield client

    async def call(self, method: str, target: str, **options: Any) -> httpx.Response:
        async with self.client() as client:
            return await client.request(method, target, **options)


@pytest.fixture
def agent(tmp_path: Path) -> FakeAgent:
    return FakeAgent(tmp_path)
