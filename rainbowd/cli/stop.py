"""``rainbowd stop``: stop the running agent and its app, and wait until both have exited."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import time
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import locate
from rainbowd.cli.agent_process import open_agent
from rainbowd.cli.no_agent import find_orphans
from rainbowd.cli.terminal import INTERRUPTED, print_error, print_line
from rainbowd.errors import RainbowdError, TimedOut
from rainbowd.report.lock import holder
from rainbowd.report.tail import Tail

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.cli.agent_process import AgentProcess
    from rainbowd.report.journal import Event

POLL_SECONDS = 0.03
INIT = "1"


def stop(config_path: Path | None, timeout_seconds: float | None) -> int:
    """Stop the agent, wait until it has exited, and report processes of the app that are still running.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        timeout_seconds: the limit in seconds; None waits as long as it takes.

    Returns:
        The exit status: 0 stopped; 1 processes of the app are still running; 130 interrupted.

    Raises:
        NotRunning: no agent is running.
        TimedOut: the agent did not exit in time.
        RainbowdError: this user may not stop the agent, or another agent was started since.
    """
    state_dir = locate(config_path).state_dir
    started_at = time.monotonic()
    with open_agent(state_dir, "stop") as agent, contextlib.closing(Tail(state_dir, None)) as tail:
        agent.send(signal.SIGTERM)
        try:
            print_line(f"stopping the agent (pid {agent.pid}): it finishes requests in flight, then stops the app")
            _warn_of_systemd(agent.pid)
            events = _wait(state_dir, agent, tail, timeout_seconds)
        except KeyboardInterrupt:
            print_error("stopped waiting; the agent continues to stop")
            return INTERRUPTED
    return _report(state_dir, events, time.monotonic() - started_at)


def _wait(state_dir: Path, agent: AgentProcess, tail: Tail, timeout_seconds: float | None) -> list[Event]:
    """Wait until the agent has exited, and return the events that it wrote meanwhile."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    events: list[Event] = []
    while holder(state_dir) is not None or not agent.has_ended():
        events += _read(tail)
        if any(event["event"] == "agent.started" for event in events):
            raise RainbowdError(f"the agent stopped, but another one was started since (pid {holder(state_dir)})")
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut(f"not stopped within {timeout_seconds:g} seconds; the agent continues to stop")
        time.sleep(POLL_SECONDS)
    return events + _read(tail)


def _read(tail: Tail) -> list[Event]:
    return [json.loads(line.text) for line in tail.read()]


def _report(state_dir: Path, events: list[Event], seconds: float) -> int:
    """Print how the agent and its app stopped; return the exit status."""
    left_pids = [pid for event in events for pid in _left(event)]
    if left_pids:
        pids = ", ".join(map(str, left_pids))
        print_error(f"the agent stopped, but these processes of the app are still running: {pids}")
        return 1
    orphans = find_orphans(state_dir)  # of an agent that crashed, or was stopped before it took over the app
    if orphans:
        pids = " ".join(str(pid) for orphan in orphans for pid in orphan.pids)
        print_error(f"the agent exited without stopping the app, which is still running: to stop it, run `kill {pids}`")
        return 1
    print_line(f"stopped after {seconds:.2f} s")
    return 0


def _left(event: Event) -> list[object]:
    left = event.get("left")
    return left if isinstance(left, list) else []


def _warn_of_systemd(pid: int) -> None:
    unit = systemd_unit(_content(f"/proc/{pid}/cgroup"), _content(f"/proc/{pid}/status"))
    if unit is not None:
        command = f"systemctl stop {shlex.quote(unit)}"
        print_error(f"warning: systemd may start the agent again; run `{command}` to keep it stopped")


def systemd_unit(cgroup: str, status: str) -> str | None:
    """Return the systemd service whose main process this is; None if there is none.

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
