"""``rainbowd stop``: stop the running agent and its app, and wait until both have ended."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import locate
from rainbowd.cli.agent_process import open_agent
from rainbowd.cli.terminal import print_error, print_line
from rainbowd.errors import RainbowdError, TimedOut
from rainbowd.report.lock import holder
from rainbowd.report.tail import Tail

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.report.journal import Event

POLL_SECONDS = 0.03
INIT = "1"


def stop(config_path: Path | None, timeout_seconds: float | None) -> int:
    """Ask the agent to stop, wait until it has ended, and report what it left behind.

    Args:
        config_path: of ``--config``; None searches the working directory.
        timeout_seconds: how long to wait; None for as long as it takes.

    Returns:
        The exit status: 0 stopped; 1 processes are left, or another agent was started; 4 timed out.

    Raises:
        NotRunning: no agent is running.
        RainbowdError: this user may not stop it.
    """
    state_dir = locate(config_path).state_dir
    began_at = time.monotonic()
    with open_agent(state_dir, "stop") as agent, contextlib.closing(Tail(state_dir, None)) as tail:
        agent.send(signal.SIGTERM)
        print_line(f"stopping the agent (pid {agent.pid}): it finishes requests in flight, then ends the app")
        _warn_of_systemd(agent.pid)
        events: list[Event] = []
        while holder(state_dir) is not None or not agent.has_ended():
            events += _read(tail)
            if any(event["event"] == "agent.started" for event in events):
                raise RainbowdError(f"the agent stopped, and another was started since (pid {holder(state_dir)})")
            if timeout_seconds is not None and time.monotonic() - began_at >= timeout_seconds:
                raise TimedOut(f"not stopped within {timeout_seconds:g} seconds; the agent continues to stop")
            time.sleep(POLL_SECONDS)
        events += _read(tail)
    return _report(events, time.monotonic() - began_at)


def _read(tail: Tail) -> list[Event]:
    return [json.loads(line.text) for line in tail.read()]


def _report(events: list[Event], seconds: float) -> int:
    """Print what became of the agent and its app; 1 if something of the app is left."""
    left = [pid for event in events for pid in _left(event)]
    if left:
        print_error(f"the agent has stopped, but could not end these processes: {', '.join(map(str, left))}")
        return 1
    if not any(event["event"] == "agent.stopped" for event in events):
        print_error("the agent has ended without reporting that it stopped the app")
        return 1
    print_line(f"stopped after {seconds:.2f} s")
    return 0


def _left(event: Event) -> list[object]:
    left = event.get("left")
    return left if isinstance(left, list) else []


def _warn_of_systemd(pid: int) -> None:
    unit = systemd_unit(_content(f"/proc/{pid}/cgroup"), _content(f"/proc/{pid}/status"))
    if unit is not None:
        print_error(f"warning: systemd may start the agent again; `systemctl stop {unit}` keeps it stopped")


def systemd_unit(cgroup: str, status: str) -> str | None:
    """Return the systemd service that a process is the main process of; None if there is none.

    Args:
        cgroup: the content of ``/proc/PID/cgroup``: cgroups(7).
        status: the content of ``/proc/PID/status``: proc(5).
    """
    parent = next((line.split()[1] for line in status.splitlines() if line.startswith("PPid:")), None)
    paths = [line.split(":", 2)[2] for line in cgroup.splitlines() if line.startswith(("0::", "1:name=systemd:"))]
    units = [path.rpartition("/")[2] for path in paths]
    return next((unit for unit in units if unit.endswith(".service")), None) if parent == INIT else None


def _content(path: str) -> str:
    try:
        with open(path, errors="replace") as file:  # noqa: PTH123 - pathlib is not needed for this
            return file.read()
    except OSError:
        return ""
