"""A real agent for which another version can be installed, one with faults."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from typing import TYPE_CHECKING

from rainbowd.report.lock import holder
from tests.live.agent import Agent, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = {"PREPARE_SECONDS": 60.0, "ADOPT_SECONDS": 60.0, "FIRST_SECONDS": 0.0, "TRIAL_SECONDS": 0.1}
"""The constants of every version: an upgrade is quick, and has time on a busy machine."""


@contextlib.contextmanager
def installed(directory: Path, **constants: float) -> Iterator[Agent]:
    """Run an agent that is upgraded quickly, and that reads from ``faults.json`` what is installed."""
    install(directory, **constants)
    with running(directory, None, "tests.live.faulty_agent", drain={"timeout": 600, "tunnels": 2}) as agent:
        yield agent


def install(directory: Path, *faults: str, **constants: float) -> None:
    """Install another version for the agents that start from now on.

    Args:
        directory: of the site.
        faults: names of functions in ``faulty_agent``; none for a version without faults.
        constants: values by name, see ``faulty_agent.CONSTANTS``.
    """
    wanted = {"faults": faults, "constants": QUICK | constants}
    (directory / "faults.json").write_text(json.dumps(wanted))


def get(agent: Agent, path: str = "/") -> tuple[int, str | None]:
    """Return the status of an answer, and the generation that sent it."""
    with contextlib.closing(http.client.HTTPConnection(agent.host, agent.port, timeout=20)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("X-Generation")


@contextlib.contextmanager
def looking(agent: Agent) -> Iterator[set[int | None]]:
    """Sample who holds the lock, all the time."""
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
    """A request that the agent and generation 1 have until its last byte is sent.

    Attributes:
        connection_field: ``Connection`` of the answer.
    """

    def __init__(self, agent: Agent) -> None:
        self.connection_field: str | None = None
        self._connection = http.client.HTTPConnection(agent.host, agent.port, timeout=20)
        self._connection.putrequest("POST", "/echo")
        self._connection.putheader("Content-Length", "2")
        self._connection.endheaders(b"a")
        agent.wait_until(lambda: agent.status() if agent.status()["generations"][0]["in_flight"] else None, "a request")

    def finish(self) -> tuple[int, str | None]:
        """Send the last byte, and read the answer."""
        with contextlib.closing(self):
            self._connection.send(b"b")
            response = self._connection.getresponse()
            response.read()
            self.connection_field = response.getheader("Connection")
            return response.status, response.getheader("X-Generation")

    def close(self) -> None:
        """Close the connection without the last byte."""
        self._connection.close()
