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
from rainbowd.proxy import Traffic
from rainbowd.roster import Roster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from rainbowd.deploy.process import ResourceUsage

TOKEN = "correct-horse-battery"
ADMITTED = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class Outcome:
    result: str = "succeeded"
    generation: int | None = 2
    release: Path | None = Path("/srv/releases/b")
    reason: str | None = None
    output: list[str] = field(default_factory=list)


@dataclass
class Deploy:
    id: str = "d1"
    finished: trio.Event = field(default_factory=trio.Event)
    outcome: Outcome | None = None

    def decide(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.finished.set()


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

    async def redeploy(self, release: str | None, note: str | None) -> Deploy:
        return self._ask("redeploy", release, note)

    async def settle(self) -> None:
        self.settled += 1

    async def rollback(self, note: str | None) -> Deploy:
        return self._ask("rollback", note)

    def _ask(self, *words: str | None) -> Deploy:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append(tuple("-" if word is None else word for word in words))
        return self.deploy

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
