"""One row, end to end: boot, deploys under load, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from threading import Thread
from typing import TYPE_CHECKING, Any

from tests.live.agent import ROOT, Agent
from tests.live.storm import TUNNELS_SECONDS, at, deploy_again_and_again, leftovers, misjudged_tunnels, stale_answers
from tests.live.traffic import Traffic
from tests.servers.environments import prepare, version
from tests.servers.load import Unnumbered, clients
from tests.servers.rows import APPS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.agent import Event
    from tests.servers.rows import Row

GAP_SECONDS = 0.3
REAPED_SECONDS = 30.0
KEPT_SECONDS = 20.0
"""How long a kept connection is looked at."""


@dataclass
class Result:
    """The measurements of a row; times are medians, except ``drain_seconds``, the longest.

    Attributes:
        kept: what became of an idle connection of ours to the app itself when the app was told to end.
        killed: how many generations had to be.
        left: processes.
    """

    name: str
    version: str
    requests: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    deploys: int = 0
    boot_seconds: float = 0.0
    switch_seconds: float = 0.0
    drain_seconds: float = 0.0
    killed: int = 0
    left: int = 0
    kept: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def run(row: Row, deploys: int, directory: Path, environments: Path) -> Result:
    """Run one row.

    Args:
        directory: an empty one, for the site.
        environments: where what it needs is, or is put.

    Raises:
        Missing: that cannot be had.
    """
    environment = prepare(row, environments)
    result = Result(row.name, version(row, environment))
    with environment_of(environment):
        result.config = write_config(row, directory)
        agent = Agent(directory, **_for_the_test(result.config))
        agent.flip("a")
        agent.start()
        try:
            _deploy(agent, row, deploys, result)
        except AssertionError as problem:
            result.failures.append(str(problem))
        finally:
            agent.destroy()
    return result


def write_config(row: Row, directory: Path) -> dict[str, Any]:
    """Lay a site with two releases out in ``directory``, and have ``rainbowd init`` write its config."""
    for name in "ab":
        shutil.copytree(APPS / row.app, directory / "releases" / name)
    (directory / "current").symlink_to("releases/a")
    command = [sys.executable, "-m", "rainbowd", "init", "--server", row.recipe]
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"rainbowd init: {done.stderr}")
    written: dict[str, Any] = json.loads((directory / "rainbowd.json").read_text())
    return written


def _for_the_test(config: dict[str, Any]) -> dict[str, Any]:
    """The row's config, with a place of its own, and less time for WebSockets."""
    kept = {key: value for key, value in config.items() if key not in {"listen", "state_dir", "trigger_file"}}
    return {**kept, "drain": {**config.get("drain", {}), "tunnels": TUNNELS_SECONDS}}


@contextlib.contextmanager
def environment_of(added: dict[str, str]) -> Iterator[None]:
    """With ``added`` in the environment."""
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _deploy(agent: Agent, row: Row, deploys: int, result: Result) -> None:
    decided = agent.decision(0, trigger="start")
    if decided["event"] != "deploy.succeeded":
        result.failures.append(f"the first deploy: {decided.get('reason')} {decided.get('output')}")
        agent.stop()
        return
    traffic = (Traffic if row.numbered else Unnumbered)(agent.host, agent.port)
    switches = asyncio.run(_blow(agent, row, traffic, deploys))
    result.failures += traffic.failures
    result.failures += [f"process {pid} was not reaped" for pid in _lasting_zombies(agent)]
    kept = Kept(agent.status())
    if agent.stop() != 0:
        result.failures.append("the agent's exit status is not 0")
    result.kept = kept.told()
    _judge(agent, traffic, result)
    result.deploys = len(switches)


def _lasting_zombies(agent: Agent) -> list[int]:
    """Those that stay: every process is one between its end and its being reaped, and a generation may be ending."""
    deadline = time.monotonic() + REAPED_SECONDS
    before = set(agent.zombies())
    while before and time.monotonic() < deadline:
        time.sleep(0.1)
        before &= set(agent.zombies())
    return sorted(before)


async def _blow(agent: Agent, row: Row, traffic: Traffic, deploys: int) -> list[Any]:
    async with asyncio.TaskGroup() as tasks:
        for client in clients(traffic, without=row.without, websocket=row.websocket):
            tasks.create_task(client)
        try:
            await asyncio.sleep(0.5)
            switches = await deploy_again_and_again(agent, traffic, deploys, gap_seconds=GAP_SECONDS)
            await asyncio.sleep(0.5)
        finally:
            traffic.over.set()
    return switches


def _judge(agent: Agent, traffic: Traffic, result: Result) -> None:
    events = agent.events()
    lives = [(at(event), event["generation"]) for event in events if event["event"] == "generation.live"]
    retired = [event for event in events if event["event"] == "generation.retired"]
    result.failures += stale_answers(traffic, lives) + misjudged_tunnels(traffic, lives) + leftovers(agent, events)
    result.kinds = dict(traffic.counts)
    result.requests = sum(count for kind, count in traffic.counts.items() if kind != "message")
    result.boot_seconds = _median(events, "generation.live", "boot_seconds")
    result.switch_seconds = _median(events, "generation.live", "switch_seconds")
    result.drain_seconds = max((event["drain_seconds"] for event in retired), default=0.0)
    result.killed = sum(bool(event["killed"]) for event in retired)
    result.left = len(agent.processes()) + sum(len(event["left"]) for event in retired)


def _median(events: list[Event], name: str, key: str) -> float:
    found = [event[key] for event in events if event["event"] == name and event.get(key) is not None]
    return statistics.median(found) if found else 0.0


class Kept:
    """A connection to the app itself, that has had one answer and then is idle, watched until it ends."""

    def __init__(self, status: Event) -> None:
        address = next(one["address"] for one in status["generations"] if one["id"] == status["live"])
        self._told = ""
        self._socket = _connect(address)
        self._socket.sendall(b"GET /up HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Proto: https\r\n\r\n")
        self._socket.settimeout(0.5)
        if _read_until_quiet(self._socket):
            self._told = "keeps none"
        self._watch = Thread(target=self._look)
        self._watch.start()

    def _look(self) -> None:
        if not self._told:
            began_at = time.monotonic()
            self._socket.settimeout(KEPT_SECONDS)
            try:
                end = "closed" if self._socket.recv(1) == b"" else "said something"
            except TimeoutError:
                end = "still open"
            except ConnectionError:
                end = "reset"
            self._told = f"{end} after {time.monotonic() - began_at:.1f} s"
        self._socket.close()

    def told(self) -> str:
        """What was seen, once the app has ended."""
        self._watch.join()
        return self._told


def _connect(address: str) -> socket.socket:
    if address.startswith("unix:"):
        found = socket.socket(socket.AF_UNIX)
        found.connect(address.removeprefix("unix:"))
        return found
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)))


def _read_until_quiet(connection: socket.socket) -> bool:
    """Return whether the other side closed after its answer."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True
