"""A real agent whose program is a copy of its own, so that another version can be installed in its place."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import threading
from typing import TYPE_CHECKING

from rainbowd.report.lock import holder
from tests.live.agent import ROOT, Agent, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEGIN = "    offer = _offer()"
AGENT = "agent/agent.py"
ADOPTED = "        self._lock.claim()\n"
PROGRAM = "upgrade/new_agent.py"


@contextlib.contextmanager
def installed(directory: Path, **config: object) -> Iterator[Agent]:
    """An agent that is upgraded quickly."""
    shutil.copytree(ROOT / "rainbowd", directory / "installed" / "rainbowd", ignore=shutil.ignore_patterns("*.pyc"))
    shorten = {"PREPARE_SECONDS": 12.0, "ADOPT_SECONDS": 6.0, "FIRST_SECONDS": 0.0}
    for name, seconds in shorten.items():
        edit(directory, PROGRAM, f"{name} =", f"{name} = {seconds}  # was")
    edit(directory, AGENT, "TRIAL_SECONDS =", "TRIAL_SECONDS = 0.1  # was")
    with running(directory, drain={"timeout": 30, "tunnels": 2}, **config) as agent:
        yield agent


def edit(directory: Path, file: str, old: str, new: str) -> None:
    """Install another version."""
    path = directory / "installed" / "rainbowd" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def get(agent: Agent, path: str = "/") -> tuple[int, str | None]:
    """The status of an answer, and which generation gave it."""
    with contextlib.closing(http.client.HTTPConnection(agent.host, agent.port, timeout=20)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("X-Generation")


@contextlib.contextmanager
def looking(agent: Agent) -> Iterator[set[int | None]]:
    """Who has the lock, all the time."""
    seen: set[int | None] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.add(holder(agent.state_dir))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


class Upload:
    """A request that the agent and generation 1 have until its last byte is sent."""

    def __init__(self, agent: Agent) -> None:
        self._connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
        self._connection.putrequest("POST", "/echo")
        self._connection.putheader("Content-Length", "2")
        self._connection.endheaders(b"a")
        agent.wait_until(lambda: agent.status() if agent.status()["generations"][0]["in_flight"] else None, "a request")

    def finish(self) -> tuple[int, str | None]:
        """Send that, and read the answer."""
        with contextlib.closing(self):
            self._connection.send(b"b")
            response = self._connection.getresponse()
            response.read()
            return response.status, response.getheader("X-Generation")

    def close(self) -> None:
        """Go away."""
        self._connection.close()
