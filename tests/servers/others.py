"""The usual other ways to deploy, each with an app of the matrix, under the matrix's load."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live.client import BadAnswer, CutOff
from tests.live.storm import misjudged_tunnels
from tests.live.traffic import Traffic
from tests.servers import site
from tests.servers.environments import prepare
from tests.servers.load import clients
from tests.servers.rows import ROWS, Row
from tests.servers.ways import NewMaster, Nginx, Nothing, Phased, Reload, Site, StopAndStart, Switch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

NGINX = Row("nginx", "", debian=("nginx-light",), program="nginx", version=("sh", "-c", "nginx -v 2>&1"))

RAINBOWD = "rainbowd"
STOP = "stop and start, as systemctl restart does"
BEHIND = "the same behind nginx"
SWITCH = "a second app, nginx switched to it and reloaded, the first stopped"

WAYS: tuple[tuple[str, str, type[StopAndStart] | None], ...] = (
    ("gunicorn-gthread", "no deploy, only the load", Nothing),
    ("gunicorn-gthread", RAINBOWD, None),
    ("gunicorn-gthread", "gunicorn's HUP", Reload),
    ("gunicorn-gthread", "gunicorn's USR2, TERM to the first master", NewMaster),
    ("gunicorn-gthread", STOP, StopAndStart),
    ("gunicorn-gthread", BEHIND, Nginx),
    ("gunicorn-gthread", SWITCH, Switch),
    ("uvicorn", "no deploy, only the load", Nothing),
    ("uvicorn", RAINBOWD, None),
    ("uvicorn", STOP, StopAndStart),
    ("uvicorn", BEHIND, Nginx),
    ("uvicorn", SWITCH, Switch),
    ("puma-cluster", "no deploy, only the load", Nothing),
    ("puma-cluster", RAINBOWD, None),
    ("puma-cluster", "puma's phased restart", Phased),
    ("puma-cluster", STOP, StopAndStart),
    ("puma-cluster", SWITCH, Switch),
)


@dataclass
class Seen:
    """Of one way: all that was asked for, and what of it was lost, by how."""

    server: str
    way: str
    deploys: int
    requests: int
    lost: dict[str, int]


@dataclass
class Loss(Traffic):
    """What clients saw, and how they lost what they lost."""

    lost: Counter[str] = field(default_factory=Counter)

    def fail(self, kind: str, begun_at: float, what: object) -> None:
        """Take note of a failure."""
        super().fail(kind, begun_at, what)
        self.lost[how(kind, what)] += 1


def how(kind: str, what: object) -> str:
    """In which way a request of ``kind`` was lost, from its client's error."""
    match what:
        case ConnectionRefusedError():
            return "refused"
        case CutOff():
            return "cut off"
        case BadAnswer():
            return f"answered {str(what)[:3]}"
        case TimeoutError():
            return "not answered"
        case _:
            return f"closed on a {'POST' if kind in {'post', 'chunked'} else 'GET'}"


def run_all(deploys: int, environments: Path, only: Collection[str]) -> Iterator[Seen]:
    """Each way, one after the other.

    Args:
        deploys: how many, of each.
        environments: where what they need is, or is put.
        only: servers; all where there are none.

    Raises:
        Missing: what one needs cannot be had.
    """
    prepare(NGINX, environments)
    for server, way, kind in (one for one in WAYS if not only or one[0] in only):
        row = next(row for row in ROWS if row.name == server)
        with tempfile.TemporaryDirectory(prefix="others-") as directory:
            if kind is None:
                result = site.run(row, deploys, Path(directory), environments)
                lost = {"in all": len(result.failures)} if result.failures else {}
                yield Seen(server, way, result.deploys, result.requests + len(result.failures), lost)
            else:
                with site.environment_of(prepare(row, environments)):
                    traffic, lost = _run(row, kind, deploys, Path(directory))
                yield Seen(server, way, deploys, _asked(traffic), lost)


def _asked(traffic: Loss) -> int:
    return sum(count for kind, count in traffic.counts.items() if kind != "message") + traffic.lost.total()


def _run(row: Row, kind: type[StopAndStart], deploys: int, directory: Path) -> tuple[Loss, dict[str, int]]:
    """What clients saw of one way, and all that was lost."""
    with (directory / "log").open("w") as log:
        place = Site(directory, site.write_config(row, directory)["run"], log.fileno())
        running = kind(place)
        traffic = Loss("127.0.0.1", place.port)
        try:
            asyncio.run(_blow(row, traffic, running, deploys))
        finally:
            running.end()
    lost = traffic.lost + Counter({"WebSocket ended at once": len(misjudged_tunnels(traffic, place.lives))})
    return traffic, dict(lost.most_common())


async def _blow(row: Row, traffic: Loss, running: StopAndStart, deploys: int) -> None:
    """Deploy under load, at the pace of the matrix."""
    async with asyncio.TaskGroup() as tasks:
        for client in clients(traffic, without=row.without, websocket=row.websocket):
            tasks.create_task(client)
        try:
            await asyncio.sleep(0.5)
            for number in range(deploys):
                if number % 2 == 0:
                    running.site.turn("ba"[number // 2 % 2])
                await asyncio.to_thread(running.deploy)
                await asyncio.sleep(site.GAP_SECONDS * (number % 3))
            await asyncio.sleep(0.5)
        finally:
            traffic.over.set()
