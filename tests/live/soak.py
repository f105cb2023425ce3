"""All kinds of load for a long time, and what remains after it: ``python -m tests.live.soak --minutes 20``.

A real ``rainbowd proxy`` stands before a real app.  The load runs twice, first to warm up and then for most of the
time.  After each, without clients, the proxy is inspected: what it holds more the second time has leaked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.live.agent import ROOT, free_port
from tests.live.client import Client
from tests.live.soak_traffic import rough_clients
from tests.live.traffic import Traffic, good

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.live.client import Answer

WARM_UP_SHARE = 0.25
PATIENCE_SECONDS = 30.0
GROWTH_BYTES = 6 << 20
"""The limit of the proxy's growth from the short load to the long one, whatever its length."""
KEPT_DESCRIPTORS = 32
"""The descriptors of the pipes that the proxy keeps for large bodies: two for each."""
SETTLE_SECONDS = 2.5
"""The seconds until nothing of a request is left: idle connections to the app are kept for one."""
SHOWN = 40
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Held:
    """The resources that the proxy holds while it is idle."""

    descriptors: int
    tasks: int
    memory_bytes: int

    def is_settled(self, before: Held) -> bool:
        """Return whether it is no more than before, except for what is kept on purpose."""
        return self.descriptors <= before.descriptors + KEPT_DESCRIPTORS and self.tasks <= before.tasks


@dataclass
class Soak:
    """What was observed, and which of it is a fault."""

    before: Held
    warm: Held
    after: Held
    cpu_seconds: float
    counts: dict[str, int]
    failures: list[str] = field(default_factory=list)


class Load(Traffic):
    """Traffic that keeps only counts: a long soak has millions of answers."""

    def accept(self, kind: str, begun_at: float, answer: Answer) -> None:
        """Count an answer by its status."""
        self.counts[kind] += 1


@dataclass(frozen=True)
class Proxy:
    """The process that is measured."""

    process: subprocess.Popen[bytes]
    port: int
    probe_file: Path
    output_file: Path

    def descriptors(self) -> int:
        """Return the number of open descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory_bytes(self) -> int:
        """Return the resident size in bytes: proc(5), statm."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    def cpu_seconds(self) -> float:
        """Return the CPU time in seconds: proc(5), stat, fields 14 and 15."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def tasks(self) -> int:
        """Return the number of its trio tasks."""
        self.probe_file.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        wait_until(self.probe_file.exists)
        return int(self.probe_file.read_text())

    def look(self, *, like: Held | None = None) -> Held:
        """Return what it holds, after waiting until that is like ``like`` or the time is over."""
        if like is not None:
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: self.look().is_settled(like))
        return Held(self.descriptors(), self.tasks(), self.memory_bytes())

    def complaints(self) -> list[str]:
        """Return the lines of its log that report a bug."""
        text = self.output_file.read_text(errors="replace")
        return [line for line in text.splitlines() if "bug" in line or "Traceback" in line]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it did not in a long time.
    """
    limit = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Return whether a program accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(directory: Path, command: list[str], port: int, output: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that listens on ``port``, and kill it at the end if it still runs."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with (directory / output).open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path},
        )
    try:
        wait_until(lambda: listens(port))
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def proxied(directory: Path, *limits: str) -> Iterator[Proxy]:
    """Run the proxy with the app behind it."""
    app_port, port = free_port(), free_port()
    probe_file = directory / "tasks"
    command = ["-m", "tests.live.counted", str(probe_file), "proxy", "--upstream", f"127.0.0.1:{app_port}"]
    command += ["--listen", f"127.0.0.1:{port}", *(word for limit in limits for word in ("--limit", limit))]
    with (
        running(directory, [str(ROOT / "tests/live/app.py"), str(app_port)], app_port, "app.log"),
        running(directory, command, port, "proxy.log") as process,
    ):
        yield Proxy(process, port, probe_file, directory / "proxy.log")


async def load(port: int, seconds: float) -> Load:
    """Run all clients for this time, without a pause."""
    traffic = Load("127.0.0.1", port, message_gap_seconds=0)
    async with asyncio.TaskGroup() as tasks:
        for client in (*traffic.clients(), *rough_clients(traffic)):
            tasks.create_task(client)
        await asyncio.sleep(seconds)
        traffic.over.set()
    traffic.failures += [
        f"websocket closed after {tunnel.ended_at - tunnel.opened_at:.1f} s"
        for tunnel in traffic.tunnels
        if tunnel.closed
    ]
    return traffic


async def ask_once(port: int) -> None:
    """Send one request, after which the proxy has loaded everything it needs."""
    client = await Client.connect("127.0.0.1", port)
    good(await client.ask("/", last=True))
    await client.close()


def run(directory: Path, seconds: float) -> Soak:
    """Load the proxy twice, and compare what it holds after each time."""
    with proxied(directory) as proxy:
        asyncio.run(ask_once(proxy.port))
        time.sleep(SETTLE_SECONDS)
        before = proxy.look()
        first = asyncio.run(load(proxy.port, seconds * WARM_UP_SHARE))
        warm = proxy.look(like=before)
        second = asyncio.run(load(proxy.port, seconds * (1 - WARM_UP_SHARE)))
        after = proxy.look(like=before)
        soak = Soak(before, warm, after, proxy.cpu_seconds(), dict(first.counts + second.counts))
        soak.failures += [*first.failures, *second.failures, *proxy.complaints(), *leaks(before, warm, after)]
        proxy.process.send_signal(signal.SIGTERM)
        exit_status = proxy.process.wait(PATIENCE_SECONDS)
        if exit_status != 0:
            soak.failures.append(f"the proxy's exit status is {exit_status}")
    return soak


def leaks(before: Held, warm: Held, after: Held) -> list[str]:
    """Return the resources that are held and should not be."""
    found = []
    for held, when in ((warm, "the warm-up"), (after, "the load")):
        if not held.is_settled(before):
            found.append(f"after {when} {held}, before {before}")
    if after.memory_bytes > warm.memory_bytes + GROWTH_BYTES:
        found.append(f"memory grew from {warm.memory_bytes} to {after.memory_bytes}")
    return found


def report(soak: Soak) -> str:
    """Return the report as lines of text."""
    lines = [f"{count:8} {kind}" for kind, count in sorted(soak.counts.items())]
    for held, when in ((soak.before, "before"), (soak.warm, "warm"), (soak.after, "after")):
        mebibytes = held.memory_bytes / (1 << 20)
        lines.append(f"{when:>8}: {held.descriptors} descriptors, {held.tasks} tasks, {mebibytes:.1f} MiB")
    lines.append(f"{soak.cpu_seconds:8.1f} s of CPU in the proxy")
    lines += [f"FAILED {failure}" for failure in soak.failures[:SHOWN]]
    lines.append(f"{len(soak.failures)} lines of failure" if soak.failures else "no failure")
    return "\n".join(lines)


def main() -> int:
    """Run the command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.soak", description="Load the proxy for a long time.")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long; default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        soak = run(Path(directory), options.minutes * 60)
    print(report(soak))
    return 1 if soak.failures else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
