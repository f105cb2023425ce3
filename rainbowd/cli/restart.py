"""``rainbowd restart``: start the companion processes of one name again, without a deploy."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import live_generation, locate, require_agent
from rainbowd.cli.deploy_request import DeployRequest, TriggerFile, check_request
from rainbowd.cli.terminal import INTERRUPTED, escape_control, print_error, print_line
from rainbowd.errors import RainbowdError, TimedOut, UsageError
from rainbowd.report.tail import Tail

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.config_paths import ConfigPaths
    from rainbowd.report.journal import Event

POLL_SECONDS = 0.05
UNSEEN_SECONDS = 5.0
"""How long the agent may take to see the request: it reads the trigger file twice a second."""


def restart(config_path: Path | None, name: str, timeout_seconds: float | None) -> int:
    """Start the companion processes of a name again, and wait until the new ones run.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        name: the key in ``processes``.
        timeout_seconds: the limit in seconds; None waits as long as it takes.

    Returns:
        The exit status: 0; 130 if interrupted.

    Raises:
        UsageError: there is no such process, or this user cannot write the trigger file.
        NotRunning: no agent is running.
        TimedOut: the processes did not run in time.
        RainbowdError: the agent did not take the request.
    """
    paths = locate(config_path)
    require_agent(paths.state_dir)
    count = _count(paths, name)
    if paths.trigger_file is None:
        raise UsageError("cannot request a restart: trigger_file is off; set trigger_file")
    request = DeployRequest(os.urandom(6).hex(), None, None, restart=name)
    check_request(paths, request)
    with contextlib.closing(Tail(paths.state_dir, None)) as tail:
        TriggerFile(paths.trigger_file, request).write()
        try:
            pids = _follow(paths, tail, request, count, timeout_seconds)
        except KeyboardInterrupt:
            print_error("stopped waiting; the restart continues")
            return INTERRUPTED
    print_line(f"restarted {escape_control(name)}: pid {', '.join(map(str, pids))}")
    return 0


def _count(paths: ConfigPaths, name: str) -> int:
    """Return how many processes of a name the live generation has.

    Raises:
        UsageError: it has none.
    """
    live = live_generation(paths.state_dir)
    if live is None:
        raise UsageError("no generation is live, so that no companion process runs")
    names = [process["name"] for process in live.get("processes", [])]
    if name not in names:
        known = ", ".join(dict.fromkeys(names)) or "none; docs/processes.md describes them"
        raise UsageError(f"no companion process {name!r}; the live generation has: {known}")
    return names.count(name)


def _follow(
    paths: ConfigPaths, tail: Tail, request: DeployRequest, count: int, timeout_seconds: float | None
) -> list[object]:
    """Wait until the agent has started the processes again, and return their pids."""
    began_at = time.monotonic()
    is_seen, pids = False, list[object]()
    while len(pids) < count:
        for event in _events(tail):
            is_seen |= event["event"] == "process.restarting" and event.get("request") == request.id
            if is_seen and event["event"] == "process.started" and event["process"] == request.restart:
                pids.append(event["pid"])
        waited_seconds = time.monotonic() - began_at
        if not is_seen and waited_seconds >= UNSEEN_SECONDS:
            raise RainbowdError("the agent did not take the request; is it an earlier version?")
        if timeout_seconds is not None and waited_seconds >= timeout_seconds:
            raise TimedOut(f"not restarted within {timeout_seconds:g} seconds; the restart continues")
        require_agent(paths.state_dir)
        time.sleep(POLL_SECONDS)
    return pids


def _events(tail: Tail) -> list[Event]:
    return [json.loads(line.text) for line in tail.read()]
