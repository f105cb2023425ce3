"""A real agent for live tests, with a site and free ports of its own; nothing of it is left afterwards."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
APP = Path(__file__).with_name("app.py")
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.01
PORTS = range(10_000, 20_000)

Event = dict[str, Any]

INSTALLED_PYTHON = "RAINBOWD_TESTED_PYTHON"
"""The variable that names the Python of an environment; the tests run the rainbowd installed there."""

PASS_ON = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""A program that becomes a command with a socket as its fourth descriptor: sd_listen_fds(3)."""


class Successor:
    """An agent that another one started, which is nobody's child here: what ``subprocess.Popen`` is to the first.

    Its exit status cannot be known; it is taken to be 0.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return 0 if it has ended, and None before that."""
        return 0 if self._has_ended(0.0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended."""
        assert self._has_ended(timeout), f"agent {self.pid} has not ended after {timeout} s"
        return 0

    def send_signal(self, signum: int) -> None:
        """Send a signal to the process."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signum)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _has_ended(self, timeout: float | None) -> bool:
        return bool(select.select([self._pidfd], [], [], timeout)[0])


class Agent:
    """A site with its releases, and the agent that runs it.

    Args:
        directory: an empty one, for all of it.
        config: keys of ``rainbowd.json`` in addition to, or instead of, those that every test needs.

    Attributes:
        host, port: where the agent listens.
        process: the agent, once started; after an upgrade the new one.
        inherited: a listener that it is to be given, as systemd does; it outlives agents.
        module: the Python module that is started as the agent.
        patience_seconds: for whatever is waited for.
    """

    module = "rainbowd"
    patience_seconds = PATIENCE_SECONDS

    def __init__(self, directory: Path, **config: object) -> None:
        self.directory = directory.resolve()
        self.host, self.port = "127.0.0.1", free_port()
        self.state_dir = self.directory / "state"
        self.link = self.directory / "current"
        self.trigger_file = self.directory / "redeploy.trigger"
        self.output_file = self.directory / "agent.log"
        self.process: subprocess.Popen[bytes] | Successor | None = None
        self.upgraded: list[subprocess.Popen[bytes] | Successor] = []
        self.inherited: socket.socket | None = None
        self.configure(**config)

    def configure(self, **config: object) -> None:
        """Write ``rainbowd.json`` with these keys."""
        usual: dict[str, object] = {
            "run": [sys.executable, str(APP), "{port}"],
            "release": "current",
            "health": "/up",
            "listen": f"{self.host}:{self.port}",
            "state_dir": "state",
        }
        (self.directory / "rainbowd.json").write_text(json.dumps(usual | config, indent=2))

    # --- what a deployer does ------------------------------------------------------------------------------

    def add_release(self, name: str, **behaviour: object) -> Path:
        """Make a release that behaves as its ``app.json`` says: see ``app.Behaviour``."""
        release = self.directory / "releases" / name
        release.mkdir(parents=True)
        (release / "app.json").write_text(json.dumps(behaviour))
        return release

    def flip(self, name: str) -> None:
        """Switch the link to the release ``name``, as ``ln -sfT`` does."""
        temporary = self.directory / "current.new"
        temporary.symlink_to(Path("releases") / name)
        temporary.rename(self.link)

    def touch(self) -> None:
        """Request a deploy of the same release by the trigger file."""
        self.trigger_file.touch()

    # --- the agent -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the agent, with its output in ``agent.log``."""
        installed = self.directory / "installed"  # a test's own version
        tree = "" if INSTALLED_PYTHON in os.environ else str(ROOT)
        path = os.pathsep.join(filter(None, [str(installed), tree, os.environ.get("PYTHONPATH", "")]))
        with self.output_file.open("ab") as output:
            given = [] if self.inherited is None else [self.inherited.fileno()]
            self.process = subprocess.Popen(
                [
                    *([sys.executable, "-S", "-c", PASS_ON, str(given[0])] if given else []),
                    *[tested_python(), "-m", self.module, "--config", str(self.directory / "rainbowd.json")],
                ],
                pass_fds=given,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Signal the agent and wait for its exit status."""
        assert self.process is not None
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """Kill the agent as the kernel does when memory runs out; its apps keep running."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self) -> int:
        """Kill the agent, start the next, and return how many events the journal had before that."""
        self.kill()
        since = len(self.events())
        self.start()
        return since

    def upgrade(self) -> Event:
        """Request an upgrade, and wait for its outcome; if it succeeds, the new process is the agent."""
        assert self.process is not None
        since = len(self.events())
        self.process.send_signal(signal.SIGUSR2)
        names = "agent.upgraded", "agent.upgrade_failed"
        outcome = self.wait_until(
            lambda: next(filter(None, (self.find(name, since) for name in names)), None), "the end of an upgrade"
        )
        if outcome["event"] == "agent.upgraded":
            self.follow(outcome["pid"])
        return outcome

    def follow(self, pid: int) -> None:
        """Make another process the agent of this site."""
        assert self.process is not None
        self.upgraded.append(self.process)
        self.process = Successor(pid)

    def destroy(self) -> None:
        """End what is left of the agent, of its successors, and of their apps."""
        for process in (*self.upgraded, self.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        for look in (self.agents, self.processes):  # the one kind may start more of either
            while left := look():
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(LOOK_SECONDS)

    # --- what it tells -------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """Return the events of the journal, oldest first."""
        try:
            text = (self.state_dir / "journal.jsonl").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def find(self, name: str, since: int = 0, **fields: object) -> Event | None:
        """Return the first event with this name and these fields after the first ``since`` events."""
        found = (event for event in self.events()[since:] if event["event"] == name)
        return next((event for event in found if fields.items() <= event.items()), None)

    def wait_for(self, name: str, since: int = 0, **fields: object) -> Event:
        """Return the same event, after waiting until it exists."""
        return self.wait_until(lambda: self.find(name, since, **fields), f"{name} {fields or ''}")

    def decision(self, since: int, **fields: object) -> Event:
        """Return the outcome of the first deploy that was requested, with these fields, after ``since`` events."""
        deploy = self.wait_for("deploy.requested", since, **fields)["deploy"]
        names = "deploy.succeeded", "deploy.failed", "deploy.rolled_back"

        def decided() -> Event | None:
            return next(filter(None, (self.find(name, since, deploy=deploy) for name in names)), None)

        return self.wait_until(decided, f"the end of deploy {deploy}")

    def status(self) -> Event:
        """Return the present content of ``status.json``."""
        status: Event = json.loads((self.state_dir / "status.json").read_text())
        return status

    def output(self, lines: int = 30) -> str:
        """Return the last lines of the agent's log."""
        return "\n".join(self.output_file.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, look: Callable[[], Event | None], what: str) -> Event:
        """Return the first true result of ``look``.

        Raises:
            AssertionError: the agent ended, or ``patience_seconds`` passed; with the agent's last lines.
        """
        assert self.process is not None
        deadline = time.monotonic() + self.patience_seconds
        while True:
            ended = self.process.poll() is not None
            seen = look()
            if seen is not None:
                return seen
            assert not ended, f"waiting for {what}: the agent ended\n{self.output()}"
            assert time.monotonic() < deadline, f"waiting for {what}: nothing came\n{self.output()}"
            time.sleep(LOOK_SECONDS)

    # --- what is there -------------------------------------------------------------------------------------

    def cpu_seconds(self) -> float:
        """Return the CPU time that the agent has used."""
        assert self.process is not None
        user, system = _read(self.process.pid, "stat").rpartition(b")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def processes(self) -> list[int]:
        """Return the processes with the mark of this site in their environment."""
        marker = b"RAINBOWD_STATE_DIR=" + os.fsencode(self.state_dir)
        return [pid for pid in pids() if marker in _read(pid, "environ").split(b"\0")]

    def agents(self) -> list[int]:
        """Return the agents of this site, also those that another agent has started."""
        config = os.fsencode(self.directory / "rainbowd.json")
        return [pid for pid in pids() if config in _read(pid, "cmdline").split(b"\0")]

    def workers(self) -> list[int]:
        """The workers of the agent, as the status has them."""
        entries = self.status()["agent"].get("workers", [])
        return [entry["pid"] for entry in entries[1:] if entry["pid"] is not None]

    def zombies(self) -> list[int]:
        """Return the agent's children that have ended and were not reaped."""
        assert self.process is not None
        behind_name = ((pid, _read(pid, "stat").rpartition(b")")[2].split()) for pid in pids())
        return [pid for pid, stat in behind_name if stat[:2] == [b"Z", b"%d" % self.process.pid]]


@contextlib.contextmanager
def running(
    directory: Path, listener: socket.socket | None = None, module: str = "rainbowd", /, **config: object
) -> Iterator[Agent]:
    """Run an agent that serves release ``a``, and has a release ``b``.

    Args:
        directory: an empty one, for the site.
        listener: a socket to pass to the agent as systemd does.
        module: the Python module that is started as the agent.
        config: see ``Agent``.
    """
    agent = Agent(directory, **config)
    agent.inherited, agent.module = listener, module
    agent.add_release("a")
    agent.add_release("b")
    agent.flip("a")
    agent.start()
    try:
        decided = agent.decision(0, trigger="start")
        assert decided["event"] == "deploy.succeeded", f"{decided}\n{agent.output()}"
        yield agent
    finally:
        agent.destroy()


def tested_python() -> str:
    """Return the Python that runs rainbowd: the tests' own, or that of an environment where it is installed."""
    return os.environ.get(INSTALLED_PYTHON, sys.executable)


def command(*words: str) -> list[str]:
    """Return the command line of ``rainbowd WORDS``, which does not depend on the working directory."""
    python = tested_python()
    return [python, *(["-P", "-m", "rainbowd"] if INSTALLED_PYTHON in os.environ else ["-m", "rainbowd"]), *words]


def free_port() -> int:
    """Return a free port, outside the range from which the kernel takes ports for outgoing connections.

    Nobody listens on it until later, so it must not be given to another test meanwhile: each process that runs tests
    takes the ports of a share of its own, one after the other.
    """
    while True:
        port = next(_PORTS)
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port


def _own_ports() -> Iterator[int]:
    """Return the ports of this process of pytest-xdist in a circle, from a random one on."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = PORTS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) :: count]
    begin = random.randrange(len(share))
    return itertools.cycle([*share[begin:], *share[:begin]])


_PORTS = _own_ports()


def needs(program: str) -> str:
    """Return the path of a program that a test needs; on CI it is an error if it is missing."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{program} is not installed")
    return path


def pids() -> list[int]:
    """Every process that there is."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    """Return a file of ``/proc/PID``; empty if the process has ended or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
