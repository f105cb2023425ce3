"""Real processes in front of their gates, and what they print."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import trio

from rainbowd.address import TcpAddress
from rainbowd.deploy.host.command_line import environment
from rainbowd.deploy.process import ProcessTree, launches, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rainbowd.config import Account


class Launcher:
    """Launches commands as a generation each; all of them print into one pipe.

    Attributes:
        release, state_dir: directories.
        pidfile: of every generation.
    """

    def __init__(self, directory: Path) -> None:
        self.release = directory / "release"
        self.state_dir = directory / "state"
        self.release.mkdir()
        self.state_dir.mkdir()
        self.pidfile = self.state_dir / "pid"
        self.processes: list[ProcessTree] = []
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)

    def __call__(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        nofile_limit: int = 1024,
        is_open: bool = True,
        account: Account | None = None,
    ) -> ProcessTree:
        """Launcher ``argv``, with more variables ``env``, and open its gate if ``is_open``."""
        generation = len(self.processes) + 1
        variables = environment(
            {"PATH": os.environ["PATH"]},
            config_env=env or {},
            env_file_env={},
            port=20000,
            socket=None,
            pidfile=self.pidfile,
            release=self.release,
            generation=generation,
            state_dir=self.state_dir,
        )
        process = spawn(
            argv,
            cwd=self.release,
            env=variables,
            address=TcpAddress("127.0.0.1", 20000),
            output_fd=self._writer,
            nofile_limit=nofile_limit,
            account=account,
        )
        self.processes.append(process)
        if is_open:
            process.open_gate()
        return process

    async def line(self) -> str:
        """The next line that is printed."""
        line = b""
        with trio.fail_after(30):
            while not line.endswith(b"\n"):
                await trio.lowlevel.wait_readable(self._reader)
                line += os.read(self._reader, 1)
        return line.decode().rstrip("\n")

    def rest(self) -> str:
        """All else that was printed by now."""
        try:
            return os.read(self._reader, 1 << 16).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        """Kill what a test that failed has left, for the next to start clean."""
        for process in self.processes:
            process.close_gate()
            process.signal(signal.SIGKILL)
            launches.unregister(process.launch)
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launcher]:
    """Launches commands as generations."""
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.close()


@pytest.fixture
def no_descriptor_is_left(launch: Launcher) -> Iterator[None]:
    """Fails a test that leaves descriptors open."""
    before = _descriptors()
    yield
    assert _descriptors() == before


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of these there is nothing to know but the number
