"""``rainbowd restart``: start the companion processes of one name again, without a deploy."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import live_generation, locate, require_agent, require_trusted_config
from rainbowd.cli.deploy_request import check_writable, write_request
from rainbowd.cli.terminal import INTERRUPTED, escape_control, print_error, print_line
from rainbowd.errors import RainbowdError, TimedOut, UsageError
from rainbowd.report.tail import Tail

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.config_paths import ConfigPaths
    from rainbowd.report.journal import Event

POLL_SECONDS = 0.05
AGAIN_SECONDS = 1.0
"""After how long the request is written again: another one can have replaced it before the agent read it."""
UNSEEN_SECONDS = 5.0
"""How long the agent may take to see the request: it reads the file twice a second."""


def restart(config_path: Path | None, name: str, timeout_seconds: float | None) -> int:
    """Start the companion processes of a name again, and wait until the new ones run.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        name: the key in ``processes``.
        timeout_seconds: the limit in seconds; None waits as long as it takes.

    Returns:
        The exit status: 0; 130 if interrupted.

    Raises:
        UsageError: there is no such process, or this user cannot request it.
        NotRunning: no agent is running.
        TimedOut: the processes did not run in time.
        RainbowdError: the agent did not take the request.
    """
    paths = locate(config_path)
    require_agent(paths.state_dir)
    if paths.restart_file is None:
        raise UsageError("cannot request a restart: trigger_file is off; set trigger_file")
    require_trusted_config(paths.config_file, "restart")
    _require_process(paths, name)
    check_writable(paths.restart_file)
    with contextlib.closing(Tail(paths.state_dir, None)) as tail:
        request = _Request(paths.restart_file, name)
        try:
            pids = _follow(paths, tail, request, timeout_seconds)
        except KeyboardInterrupt:
            print_error("stopped waiting; the restart continues")
            return INTERRUPTED
    print_line(f"restarted {escape_control(name)}: pid {', '.join(map(str, pids))}")
    return 0


class _Request:
    """The request for a restart, in the file that the agent watches."""

    def __init__(self, file: Path, process: str) -> None:
        self.process = process
        self.id = os.urandom(6).hex()
        self._file = file
        self._written_at = -math.inf

    def write(self) -> None:
        """Write it, unless that was done within the last second."""
        if time.monotonic() - self._written_at >= AGAIN_SECONDS:
            line = json.dumps({"request": self.id, "restart": self.process}).encode() + b"\n"
            write_request(self._file, line, self.id)
            self._written_at = time.monotonic()


def _require_process(paths: ConfigPaths, name: str) -> None:
    """Check that the live generation has a process of that name.

    Raises:
        UsageError: it has none.
    """
    live = live_generation(paths.state_dir)
    known = [] if live is None else dict.fromkeys(process["name"] for process in live.get("processes", []))
    if live is not None and name not in known:  # if nothing is live, those of a crashed app can still run
        names = ", ".join(known) or "none; docs/processes.md describes them"
        raise UsageError(f"no companion process {name!r}; the live generation has: {names}")


def _follow(paths: ConfigPaths, tail: Tail, request: _Request, timeout_seconds: float | None) -> list[object]:
    """Wait until the agent has started the processes again, and return their pids."""
    began_at = time.monotonic()
    count: int | None = None
    pids: list[object] = []
    while count is None or len(pids) < count:
        for event in _events(tail):
            if event["event"] == "process.restarting" and event.get("request") == request.id:
                count = int(str(event["instances"]))
                if count == 0:
                    raise UsageError(f"no companion process {request.process!r} runs")
            elif event["event"] == "process.started" and event["process"] == request.process and count is not None:
                pids.append(event["pid"])
            elif event["event"] == "process.exited" and event["process"] == request.process and event.get("reason"):
                raise RainbowdError(f"cannot restart {request.process}: {event['reason']}; the agent tries again")
        waited_seconds = time.monotonic() - began_at
        if timeout_seconds is not None and waited_seconds >= timeout_seconds:
            raise TimedOut(f"not restarted within {timeout_seconds:g} seconds; the restart continues")
        if count is None:
            if waited_seconds >= UNSEEN_SECONDS:
                raise RainbowdError("the agent did not take the request; is it an earlier version?")
            request.write()
        require_agent(paths.state_dir)
        time.sleep(POLL_SECONDS)
    return pids


def _events(tail: Tail) -> list[Event]:
    return [json.loads(line.text) for line in tail.read()]
