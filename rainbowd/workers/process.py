"""The process of a worker, as the agent starts and reaps it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process import read_entry, reap, registering, release_status, reserve_status

if TYPE_CHECKING:
    import socket

WORKER_VARIABLE = "RAINBOWD_WORKER"
"""In the environment of a worker: the descriptor of its channel to the agent."""

_EXIT_SECONDS = 5.0
"""How long a worker that closed its channel may take to exit."""


class WorkerProcess:
    """The process of a worker.

    Args:
        theirs: its end of the channel, which is closed here.
        index: of the worker, for people who list processes.

    Attributes:
        pid: of the process.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, theirs: socket.socket, index: int) -> None:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # the same code as the agent's
        with theirs, registering:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "rainbowd.workers.main", str(index)],
                env={**env, WORKER_VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
            child.returncode = 0  # it is reaped here, Popen must not
            self.pid = child.pid
            entry = read_entry(child.pid)
            assert entry is not None, "a child has its entry until it is reaped"
            self._start_time = entry.start_time
            reserve_status(self.pid, self._start_time)
        self._pidfd = os.pidfd_open(self.pid)

    async def wait(self) -> int | None:
        """Wait for the end of a worker that has closed its channel, and return its exit status; kill it if it hangs."""
        with trio.move_on_after(_EXIT_SECONDS):
            await trio.lowlevel.wait_readable(self._pidfd)
        return await self.kill()

    async def kill(self) -> int | None:
        """Kill the process if it runs, reap it, and return its exit status; to be called once."""
        with trio.CancelScope(shield=True):  # short, because SIGKILL ends it
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await trio.lowlevel.wait_readable(self._pidfd)
        status = reap(self.pid, self._start_time)
        release_status(self.pid, self._start_time)
        os.close(self._pidfd)
        return status
