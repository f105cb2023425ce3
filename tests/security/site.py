"""The site that is attacked: an agent that runs as root, an app of another account, and the attackers around them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import pytest

from tests import accounts
from tests.accounts import STRANGER, USER, becoming
from tests.cgroups import inside
from tests.live.agent import LOOK_SECONDS, PATIENCE_SECONDS, Agent, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
every_agent = pytest.mark.parametrize("agent", ["started", "upgraded", "killed and started again"])
"""The attack is made on an agent that came about in each of these ways: see ``Site.become``."""


class Site:
    """An agent of root's with an app of another account's, and the attackers around it."""

    def __init__(self, agent: Agent, directory: Path) -> None:
        self.agent = agent
        self.directory = directory
        self.attackers: list[subprocess.Popen[str]] = []

    def become(self, agent: str) -> None:
        """Have the agent be one that was upgraded, or that was started after a kill, see ``every_agent``."""
        if agent == "upgraded":
            assert self.agent.upgrade()["event"] == "agent.upgraded"
        elif agent == "killed and started again":
            since = self.agent.restart()
            self.agent.wait_for("generation.adopted", since)

    def mark(self, generation: int) -> dict[str, str]:
        """The environment by which a process is a generation's, with its secret, which only root could know."""
        plan = json.loads((self.agent.state_dir / f"generation-{generation}.plan").read_text())
        return {
            "RAINBOWD_STATE_DIR": str(self.agent.state_dir),
            "RAINBOWD_GENERATION": str(generation),
            "RAINBOWD_MARK": plan["mark"],
        }

    def attack(self, *argv: str, user: str = STRANGER, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a process of another account."""
        process = subprocess.Popen(
            argv,
            env={"PATH": os.defpath, **(env or {})},
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,
            **becoming(user),
        )
        self.attackers.append(process)
        return process

    def steal(self, host: str, port: str, generation: int) -> str:
        """Have the stranger listen, with a mark, where a generation is to; what it said."""
        return self.thief(host, port, generation=generation).readline().strip()

    def thief(self, *words: str, generation: int) -> IO[str]:
        """Start the stranger's ``thief.py`` with the mark of a generation; what it prints."""
        thief = self.attack(accounts.python(), str(self.directory / "thief.py"), *words, env=self.mark(generation))
        assert thief.stdout is not None
        return thief.stdout

    def get(self, path: str = "/") -> str:
        """The answer to a request."""
        connection = http.client.HTTPConnection(self.agent.host, self.agent.port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def deploy(self, release: str) -> dict[str, Any]:
        """Turn the link, and wait for the decision."""
        since = len(self.agent.events())
        self.agent.flip(release)
        return self.agent.decision(since)

    def end(self) -> None:
        """End the attackers, and close their pipes."""
        for process in self.attackers:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@contextlib.contextmanager
def site(directory: Path, cgroup: Path | None = None, /, **config: object) -> Iterator[Site]:
    """A site whose app is ``app.py``, as the user; its agent is started in ``cgroup``."""
    for name in ("app.py", "thief.py"):
        shutil.copy(HERE / name, directory)
    usual: dict[str, object] = {
        "run": [accounts.python(), str(directory / "app.py"), "{port}"],
        "user": USER,
        "drain": {"kill_after": 2, "timeout": 2},
        "health": {"path": "/up", "deadline": 60},
    }
    with contextlib.ExitStack() as stack:
        with contextlib.nullcontext() if cgroup is None else inside(cgroup):
            agent = stack.enter_context(running(directory, **{**usual, **config}))
        one = Site(agent, directory)
        try:
            yield one
        finally:
            one.end()


def is_there(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def eventually(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(LOOK_SECONDS)


class Visitor:
    """A client that sends one request after another, and counts those that are answered.

    Attributes:
        answered: how many requests were answered.
        errors: of those that were not, each after the patience that guards against a hang.
    """

    def __init__(self, one: Site) -> None:
        self._one = one
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._visit)
        self.answered = 0
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _visit(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                self._one.get()
                self.answered += 1
            except OSError as error:
                self.errors.append(repr(error))

    def is_served(self) -> None:
        """Wait until a request that begins from now on is answered: none is held up for good."""
        wanted = self.answered + 2  # one may be under way
        eventually(lambda: self.answered >= wanted, "answers")
        assert self.errors == []

    def __str__(self) -> str:
        return f"{self.answered} requests of others answered meanwhile"
