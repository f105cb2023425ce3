"""One queue, end to end: jobs all the while, deploys, an upgrade and a kill of the agent in between, and the end."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.live.agent import Agent, free_port
from tests.processes.rows import APPS, WEB
from tests.servers.environments import Missing, install_with_pip, path_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes.rows import Queue

JOB_GAP_SECONDS = 0.1
REQUEST_GAP_SECONDS = 0.02
REQUEST_SECONDS = 30.0
MORE_JOBS = 10
PATIENCE_SECONDS = 120.0
"""For a deploy and the end of the old processes; more than it takes to kill one that does not end."""
BROKER_SECONDS = 60.0


@dataclass
class Result:
    """What became of the jobs of one queue.

    Attributes:
        name: of the queue.
        title: of the queue, for the page.
        version: of the queue.
        deploys: how many succeeded.
        jobs: how many were enqueued.
        lost: the jobs that never ended.
        twice: the jobs that began more than once.
        doubled: how often two processes of a name without ``overlap`` ran at the same time.
        killed: how many companion processes had to be killed.
        left: how many processes were left at the end.
        requests: how many requests the app answered meanwhile.
        failures: how each request failed that was not answered; none is sent while the agent is killed.
        own_fault: why the queue by itself loses jobs or runs them twice; empty if it must not.
    """

    name: str
    title: str = ""
    version: str = ""
    deploys: int = 0
    jobs: int = 0
    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    doubled: int = 0
    killed: int = 0
    left: int = 0
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    own_fault: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, done twice, doubled, failed, killed or left."""
        is_wrong = bool(self.lost or self.twice) and not self.own_fault
        return not (is_wrong or self.doubled or self.failures or self.left or self.killed)


def run(queue: Queue, deploys: int, directory: Path, environments: Path) -> Result:
    """Measure one queue.

    Args:
        queue: the queue.
        deploys: how many.
        directory: an empty one, for the site.
        environments: a directory for installed packages, which is kept from run to run.

    Raises:
        Missing: the queue or its broker cannot be installed.
    """
    with broker(directory) as url:
        place = install_with_pip(queue.name, queue.pip, environments) if queue.pip else None
        environment = {
            **queue.env,
            "PATH": path_with(place),
            "BROKER": url,
            "RESULTS": str(directory / "results"),
            "BEAT_SCHEDULE": str(directory / "beat-schedule"),
        }
        for name in "ab":
            shutil.copytree(APPS / queue.app, directory / "releases" / name)
        agent = Agent(directory, run=WEB, env=environment, processes=queue.processes, health="/up")
        agent.patience_seconds = PATIENCE_SECONDS
        agent.flip("a")
        agent.start()
        result = Result(queue.name, queue.title, _version(queue, environment["PATH"]), own_fault=queue.own_fault)
        try:
            _measure(agent, queue, deploys, {**os.environ, **environment}, result)
        finally:
            agent.destroy()
        return result


def _version(queue: Queue, path: str) -> str:
    """Return the version of a queue: of its package on PyPI, or what its program prints.

    Raises:
        Missing: there is none.
    """
    read = f"import importlib.metadata; print(importlib.metadata.version({queue.package!r}))"
    words = ["python", "-c", read] if queue.package else [queue.program, "--version"]
    program = shutil.which(words[0], path=path)
    if program is None:
        raise Missing(f"{queue.name}: {words[0]} is not there; apt-get install {' '.join(queue.debian)}")
    done = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(?:\.\d+)+", done.stdout)
    if found is None:
        raise Missing(f"{queue.name}: {' '.join(words)} prints no version: {done.stderr}")
    return found[0]


@contextlib.contextmanager
def broker(directory: Path) -> Iterator[str]:
    """Run redis-server on a free port of loopback, and yield its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise Missing("redis-server is not there; apt-get install redis-server")
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as redis:
        try:
            _until_open(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            redis.terminate()


def _until_open(port: int) -> None:
    deadline = time.monotonic() + BROKER_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise Missing(f"redis-server does not listen on port {port}")


def _measure(agent: Agent, queue: Queue, deploys: int, environment: dict[str, str], result: Result) -> None:
    assert agent.decision(0)["event"] == "deploy.succeeded"
    over, jobs = threading.Event(), _Jobs(agent.directory, queue, environment)
    client = _Client(agent.port, result, over)
    threads = [threading.Thread(target=jobs.enqueue, args=(over,)), _Watch(agent, queue, result, over), client]
    for thread in threads:
        thread.start()
    try:
        for number in range(deploys):
            jobs.wait_for_more()
            _deploy(agent, number)
            if number == deploys // 3:
                agent.upgrade()
            if number == 2 * deploys // 3:
                with client.paused:  # a request in flight would be lost with the agent
                    agent.wait_for("generation.adopted", agent.restart())
    finally:
        over.set()
        for thread in threads:
            thread.join()
    result.jobs = jobs.count
    jobs.wait_for_the_last()
    if agent.stop() != 0:
        result.left += 1
    events = agent.events()
    result.deploys = sum(event["event"] == "deploy.succeeded" for event in events) - 1
    result.killed = sum(event["event"] == "process.exited" and event["killed"] for event in events)
    result.left += len(agent.processes()) + sum(len(event.get("left", [])) for event in events)
    result.lost, result.twice = jobs.judge()


def _deploy(agent: Agent, number: int) -> None:
    """Deploy the other release, and wait until the workers of the one before have ended."""
    since = len(agent.events())
    agent.flip("ab"[(number + 1) % 2])
    decided = agent.decision(since)
    assert decided["event"] == "deploy.succeeded", decided
    agent.wait_for("generation.retired", since)


class _Jobs:
    """The jobs that are enqueued, and what they wrote."""

    def __init__(self, directory: Path, queue: Queue, environment: dict[str, str]) -> None:
        self.count = 0
        self._queue = queue
        self._results = directory / "results"
        self._process = subprocess.Popen(
            [shutil.which(queue.enqueue[0], path=environment["PATH"]) or queue.enqueue[0], *queue.enqueue[1:]],
            cwd=directory / "releases" / "a",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def enqueue(self, over: threading.Event) -> None:
        """Enqueue a job of a random length every tenth of a second."""
        lengths = random.Random(1)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        while not over.wait(JOB_GAP_SECONDS):
            self._process.stdin.write(f"{self.count} {lengths.uniform(0.0, self._queue.job_seconds):.3f}\n")
            self._process.stdin.flush()
            self._process.stdout.readline()
            self.count += 1
        self._process.communicate()

    def wait_for_the_last(self) -> None:
        """Wait until all jobs have ended, but not for ever: one may be lost."""
        deadline = time.monotonic() + self._queue.finished_seconds
        while len(self._seen("end")) < self.count and time.monotonic() < deadline:
            time.sleep(0.1)

    def wait_for_more(self) -> None:
        """Wait until workers that have just started are at work: a queue may not understand a signal before that."""
        begun, deadline = len(self._seen("begin")), time.monotonic() + PATIENCE_SECONDS
        while len(self._seen("begin")) < begun + MORE_JOBS:
            assert time.monotonic() < deadline, "the workers begin no job"
            time.sleep(0.1)

    def judge(self) -> tuple[list[int], list[int]]:
        """Return the jobs that never ended, and those that began more than once."""
        begun, ended = self._seen("begin"), self._seen("end")
        return [number for number in range(self.count) if not ended[number]], [
            number for number, times in begun.items() if times > 1
        ]

    def _seen(self, word: str) -> Counter[int]:
        lines = self._results.read_text().splitlines() if self._results.exists() else []
        return Counter(int(line.split()[1]) for line in lines if line.startswith(f"{word} "))


class _Watch(threading.Thread):
    """Counts how often two processes that must not overlap are seen at the same time."""

    def __init__(self, agent: Agent, queue: Queue, result: Result, over: threading.Event) -> None:
        super().__init__()
        self._state_dir = f"RAINBOWD_STATE_DIR={agent.state_dir}".encode()
        self._names = [name for name, settings in queue.processes.items() if settings.get("overlap") is False]
        self._result = result
        self._over = over

    def run(self) -> None:
        while not self._over.wait(0.1):
            for name in self._names:
                self._result.doubled += max(0, len(self._generations(name)) - 1)

    def _generations(self, name: str) -> set[bytes]:
        """Return the generations whose processes of a name run now."""
        found: set[bytes] = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                variables = (process / "environ").read_bytes().split(b"\0")
                if self._state_dir in variables and f"RAINBOWD_PROCESS={name}".encode() in variables:
                    found |= {one for one in variables if one.startswith(b"RAINBOWD_GENERATION=")}
        return found


class _Client(threading.Thread):
    """Sends the app one request after another.

    Attributes:
        paused: no request is in flight while this is held.
    """

    def __init__(self, port: int, result: Result, over: threading.Event) -> None:
        super().__init__()
        self.paused = threading.Lock()
        self._port = port
        self._result = result
        self._over = over

    def run(self) -> None:
        while not self._over.wait(REQUEST_GAP_SECONDS):
            with self.paused:
                try:
                    status = self._get()
                except (OSError, http.client.HTTPException) as error:
                    self._result.failures.append(repr(error))
                else:
                    self._result.requests += 1
                    if status != http.HTTPStatus.OK:
                        self._result.failures.append(str(status))

    def _get(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=REQUEST_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/up")
            answer = connection.getresponse()
            answer.read()
            return answer.status


def as_json(result: Result) -> dict[str, Any]:
    """Return a result for a file."""
    return {**vars(result), "is_good": result.is_good}
