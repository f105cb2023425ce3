"""``rainbowd upgrade``: replace the running agent with the installed version, and wait for the outcome."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from typing import TYPE_CHECKING, Any

from rainbowd.cli.agent_files import locate, reject_own_deploy
from rainbowd.cli.agent_process import open_agent
from rainbowd.cli.deploy_step import describe_deploy
from rainbowd.cli.terminal import INTERRUPTED, escape_control, print_error, print_line, print_quoted
from rainbowd.errors import RainbowdError, TimedOut
from rainbowd.report import status
from rainbowd.report.lock import holder
from rainbowd.report.tail import Tail

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.report.journal import Event

POLL_SECONDS = 0.03
REPEAT_SECONDS = 10.0
"""How often the deploy that the upgrade waits for is printed."""


def upgrade(config_path: Path | None, timeout_seconds: float | None) -> int:
    """Upgrade the running agent, and print the outcome.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        timeout_seconds: the limit in seconds; None waits as long as it takes.

    Returns:
        The exit status: 0 upgraded; 1 the upgrade failed; 130 interrupted.

    Raises:
        NotRunning: no agent is running.
        TimedOut: the upgrade had no outcome in time.
        RainbowdError: this user may not upgrade the agent, or the agent exited.
    """
    state_dir = locate(config_path).state_dir
    reject_own_deploy(state_dir, "upgrade the agent")
    with open_agent(state_dir, "upgrade") as agent:
        tail = Tail(state_dir, None)
        while not agent.handles(signal.SIGUSR2) and not agent.has_ended(POLL_SECONDS):
            pass  # the agent is still starting, and the signal would kill it
        agent.send(signal.SIGUSR2)
    try:
        return _print_outcome(_wait(state_dir, tail, timeout_seconds))
    except KeyboardInterrupt:
        print_error("stopped waiting; the upgrade continues")
        return INTERRUPTED


def _wait(state_dir: Path, tail: Tail, timeout_seconds: float | None) -> Event:
    """Wait until the upgrade has an outcome, and return its event."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    printed_at = time.monotonic() - REPEAT_SECONDS + 1.0  # after a second: most upgrades need not wait
    while True:
        is_gone = holder(state_dir) is None  # checked first: then the journal has the agent's last event
        outcome = _outcome(tail)
        if outcome is not None:
            return outcome
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut(f"not upgraded within {timeout_seconds:g} seconds; the upgrade continues")
        if is_gone:
            raise RainbowdError("the agent exited before the upgrade finished")
        if time.monotonic() - printed_at >= REPEAT_SECONDS:
            printed_at = time.monotonic()
            _print_deploy(state_dir)
        time.sleep(POLL_SECONDS)


def _print_deploy(state_dir: Path) -> None:
    """Print the deploy that the upgrade waits for, if there is one; a bake is continued by the new agent."""
    with contextlib.suppress(RainbowdError, KeyError, TypeError, ValueError):  # of another version, or unreadable
        told: Any = status.read(state_dir) or {}
        deploying = told["deploying"]
        if deploying is not None and deploying["step"] != "bake":
            print_line(f"waiting for the end of a deploy: {describe_deploy(deploying, told['generations'])}")


def _outcome(tail: Tail) -> Event | None:
    for line in tail.read():
        if line.event in {"agent.upgraded", "agent.upgrade_failed"}:
            event: Event = json.loads(line.text)
            return event
    return None


def _print_outcome(outcome: Event) -> int:
    if outcome["event"] == "agent.upgraded":
        print(escape_control(f"upgraded: rainbowd {outcome.get('version')}, pid {outcome.get('pid')}"))
        return 0
    print_error(f"the upgrade failed, and the old agent continues: {outcome.get('reason')}")
    lines = outcome.get("output")
    for line in lines if isinstance(lines, list) else []:
        print_quoted(line)
    return 1
