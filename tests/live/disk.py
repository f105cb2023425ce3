"""A disk that is full, or read-only, under a running agent: ``python -m tests.live.disk DIRECTORY``.

It mounts file systems of its own, so run it in a mount namespace, as ``unshare --mount`` makes one.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.live.agent import Agent, running
from tests.story import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL, READ_ONLY = "No space left on device", "Read-only file system"


class Clients:
    """Somebody who asks without a pause; ``failures`` are what was not a good answer."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._over = threading.Event()
        self.failures: list[object] = []
        self.answers = 0

    def ask_once(self) -> None:
        connection = http.client.HTTPConnection(self._agent.host, self._agent.port, timeout=20)
        try:
            connection.request("GET", "/")
            status = connection.getresponse().status
            self.failures += [status] if status != 200 else []
            self.answers += 1
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(error)
        finally:
            connection.close()

    def ask(self) -> None:
        while not self._over.is_set():
            self.ask_once()
            time.sleep(0.005)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Ask meanwhile."""
        self._over.clear()
        thread = threading.Thread(target=self.ask)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@contextlib.contextmanager
def full(directory: Path, name: str = "ballast") -> Iterator[None]:
    """Not one byte more goes into the file system of ``directory``; the file ``name`` has all that was left."""
    ballast = directory / name
    fill(ballast)
    yield
    ballast.unlink()


def fill(ballast: Path) -> None:
    """Append to ``ballast`` until the disk is full."""
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Make the disk read-only; open files stay open, as if the kernel had found the disk damaged."""
    mount("--bind", str(directory), str(directory))
    mount("-o", "remount,bind,ro", str(directory))
    yield
    subprocess.run(["umount", str(directory)], check=True)


def deploy_in_vain(agent: Agent, why: str) -> None:
    """Request a deploy that fails, and wait for the log, because the journal cannot be written now."""

    def said() -> bool:
        return any("state_dir: cannot write" in line and why in line for line in agent.output(1000).splitlines())

    agent.touch()
    agent.wait_until(lambda: {} if said() else None, f"a deploy that fails: {why}")


def warned(agent: Agent, why: str) -> dict[str, Any] | None:
    """Return the status if it warns of the full disk; it is up to date even so."""
    status = agent.status()
    return status if any(one["kind"] == "disk" and why in one["text"] for one in status["warnings"]) else None


def warned_when_full(agent: Agent, ballast: Path) -> dict[str, Any] | None:
    """Ask for a deploy on a full disk, and return the status if it warns: each one that fails leaves some room."""
    fill(ballast)
    agent.touch()
    return warned(agent, FULL)


def deploy(agent: Agent, why: str | None = None) -> None:
    """Deploy successfully after the journal has a failed deploy for ``why``."""

    def told() -> bool:
        return any(event["event"] == "deploy.failed" and why in event["reason"] for event in agent.events())

    if why is not None:
        agent.wait_until(lambda: {} if told() else None, "the journal")
    since = len(agent.events())
    agent.touch()
    decided = agent.decision(since)
    assert decided["event"] == "deploy.succeeded", decided
    agent.wait_for("generation.retired", since)  # which makes room


def run(directory: Path) -> None:
    """Run every step, one after another; a failed expectation raises."""
    state, logs = directory / "state", directory / "logs"
    for place in (state, logs):
        place.mkdir()
        mount("-t", "tmpfs", "-o", "size=128k,mode=755", "tmpfs", str(place))
    with running(directory, log={"app": "logs/app.log"}, drain={"kill_after": 2}) as agent:
        clients = Clients(agent)
        with clients.asking():
            with full(logs):
                deploy(agent)
            with read_only(state):
                deploy_in_vain(agent, READ_ONLY)
            deploy(agent, READ_ONLY)
            with full(state):
                deploy_in_vain(agent, FULL)
                with full(state, "more"):
                    agent.wait_until(lambda: warned_when_full(agent, state / "more"), "a status that says so")
        agent.wait_until(lambda: {} if warned(agent, "") is None else None, "a status without that warning")
        with full(state):
            agent.kill()
            agent.start()
            agent.wait_until(lambda: {} if agent.output(1000).count(" ready version=") == 2 else None, "the next agent")
            clients.ask_once()
        with clients.asking():
            deploy(agent)
        assert clients.failures == [], clients.failures
        assert clients.answers > 0
        assert agent.stop() == 0
        assert agent.processes() == []
        assert not [entry.name for entry in state.iterdir() if entry.name.startswith("generation-")]
        assert "bug: " not in agent.output(10000)
        assert problems(agent.events()) == []


if __name__ == "__main__":
    run(Path(sys.argv[1]))
