"""``rainbowd upgrade``: have the running agent replaced by what is now installed, and wait for the outcome."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import locate, reject_own_deploy
from rainbowd.cli.agent_process import open_agent
from rainbowd.cli.terminal import print_error, print_quoted
from rainbowd.errors import RainbowdError
from rainbowd.report.lock import holder
from rainbowd.report.tail import Tail

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.report.journal import Event

POLL_SECONDS = 0.03
_TIMED_OUT = 4


def upgrade(config_path: Path | None, timeout_seconds: float | None) -> int:
    """Ask for an upgrade, and tell what came of it.

    Args:
        config_path: of ``--config``; None looks in the working directory.
        timeout_seconds: None for as long as it takes.

    Returns:
        The exit status.

    Raises:
        NotRunning: there is no agent.
        RainbowdError: it may not be asked, or has gone.
    """
    state_dir = locate(config_path).state_dir
    reject_own_deploy(state_dir, "upgrade the agent")
    with open_agent(state_dir, "upgrade") as agent:
        tail = Tail(state_dir, None)
        while not agent.handles(signal.SIGUSR2) and not agent.has_ended(POLL_SECONDS):
            pass  # it is still starting, and the signal would kill it
        agent.send(signal.SIGUSR2)
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while True:
        is_gone = holder(state_dir) is None  # asked first: what an agent told before its end is then there
        outcome = _outcome(tail)
        if outcome is not None:
            return _tell(outcome)
        if deadline is not None and time.monotonic() >= deadline:
            print_error(f"not upgraded within {timeout_seconds:g} seconds; it may be yet")
            return _TIMED_OUT
        if is_gone:
            raise RainbowdError("the agent has gone, and was not upgraded")
        time.sleep(POLL_SECONDS)


def _outcome(tail: Tail) -> Event | None:
    for line in tail.read():
        if line.event in {"agent.upgraded", "agent.upgrade_failed"}:
            event: Event = json.loads(line.text)
            return event
    return None


def _tell(outcome: Event) -> int:
    if outcome["event"] == "agent.upgraded":
        print(f"upgraded: rainbowd {outcome.get('version')}, pid {outcome.get('pid')}")
        return 0
    print_error(f"not upgraded, nothing has changed: {outcome.get('reason')}")
    lines = outcome.get("output")
    for line in lines if isinstance(lines, list) else []:
        print_quoted(line)
    return 1
