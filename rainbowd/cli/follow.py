"""Waiting for a deploy to be decided, by the journal; what the app says meanwhile, and whether there is an agent."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from rainbowd.cli import deploy_step
from rainbowd.cli.terminal import print_error
from rainbowd.errors import RainbowdError, TimedOut
from rainbowd.report import status
from rainbowd.report.history import DECISIONS
from rainbowd.report.lock import holder
from rainbowd.report.state_dir import open_to_read

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.cli.deploy_request import TriggerFile
    from rainbowd.cli.deploy_tracker import DeployResult, DeployTracker
    from rainbowd.cli.progress import Progress
    from rainbowd.report.journal import Event
    from rainbowd.report.tail import Tail

POLL_SECONDS = 0.03
STEP_SECONDS = 0.25
GONE_SECONDS = 1.0
"""How long the lock may be free: one agent may just have followed another."""
RESEND_SECONDS = 3.0
"""How long a request may go unnoticed until it is written again: an agent compares the files twice a second."""


TIMES_BEFORE_A_WORD = 2
UNSEEN = (
    "warning: the agent has not seen the request yet; "
    "where trigger_file or release was changed in the config since it was started, `rainbowd upgrade` has it look there"
)


class AgentGone(RainbowdError):
    """No agent runs any more, and nothing was decided."""


def follow(
    tracker: DeployTracker,
    tail: Tail,
    state_dir: Path,
    progress: Progress,
    *,
    trigger: TriggerFile | None,
    timeout_seconds: float | None,
) -> DeployResult:
    """Wait until it is decided, and tell each step.

    Args:
        tracker: knows which deploy it is.
        tail: of the journal, from before it was asked for.
        state_dir: with the journal.
        progress: is told.
        trigger: where our request is; None if the deploy is known.
        timeout_seconds: None for as long as it takes.

    Raises:
        TimedOut: it goes on.
        Gone: the agent died, or stopped before it had seen the request.
        RainbowdError: the journal, or the lock, cannot be read any more.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    agent, pending = _Agent(state_dir), None if trigger is None else _PendingRequest(tracker, trigger)
    output, steps = _Output(state_dir, progress), _Steps(state_dir, progress)
    while True:
        lines = tail.read()
        events: list[Event] = [json.loads(line.text) for line in lines]
        for event in tracker.read(events):
            output.show_more()
            output.note(event)
            steps.note(event)
            progress.event(event)
        output.show_more()
        steps.look(tracker.deploy)
        if tracker.outcome is not None:
            return tracker.outcome
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut(f"not decided within {timeout_seconds:g} seconds; the deploy goes on")
        if not lines:
            agent.need()
            if pending is not None:
                pending.look()
            time.sleep(POLL_SECONDS)


class _Agent:
    """Sees that one runs; another in its place, after a restart or an upgrade, is as good."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._missing_since: float | None = None

    def need(self) -> None:
        now = time.monotonic()
        if holder(self._state_dir) is not None:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = now
        elif now - self._missing_since >= GONE_SECONDS:
            raise AgentGone("the agent has gone, and the deploy was not decided")


class _PendingRequest:
    """Sees whether our request was replaced before the agent had it; see ``tracker``."""

    def __init__(self, tracker: DeployTracker, trigger: TriggerFile) -> None:
        self._tracker = tracker
        self._trigger = trigger
        self._asked_at = time.monotonic()
        self._times = 1

    def look(self) -> None:
        if self._tracker.deploy is not None:
            return
        self._tracker.is_passed_over = self._tracker.is_passed_over or not self._trigger.is_unchanged()
        if time.monotonic() - self._asked_at >= RESEND_SECONDS:
            if self._times == TIMES_BEFORE_A_WORD:
                print_error(UNSEEN)
            self._trigger.write()
            self._asked_at = time.monotonic()
            self._times += 1


class _Steps:
    """Shows the step that the deploy is in, and what a hook writes, as the status has them."""

    def __init__(self, state_dir: Path, progress: Progress) -> None:
        self._state_dir = state_dir
        self._progress = progress
        self._looked_at = 0.0
        self._step = ""
        self._shown: list[str] = []

    def look(self, deploy: str | None) -> None:
        """Read the status, at most four times a second: no agent writes it more often while a step lasts."""
        if deploy is None or time.monotonic() - self._looked_at < STEP_SECONDS:
            return
        self._looked_at = time.monotonic()
        with contextlib.suppress(RainbowdError, KeyError, TypeError, ValueError):  # of another version, or unreadable
            deploying: Any = (status.read(self._state_dir) or {})["deploying"]
            if deploying is not None and deploying["deploy"] == deploy:
                self._step = str(deploying["step"])
                self._show(deploy_step.new_lines(deploying, len(self._shown)))
                self._progress.waiting(deploy_step.describe(deploying))

    def note(self, event: Event) -> None:
        """Show the rest of what a hook wrote, when it has ended."""
        output = event.get("output")
        if event["event"] == "hook.ended" and isinstance(output, list):
            self._step = str(event.get("hook"))
            self._show(deploy_step.rest_of(self._shown, [str(line) for line in output]))

    def _show(self, lines: list[str]) -> None:
        for line in lines:
            self._progress.output(self._step, line)
        self._shown += lines


class _Output:
    """Shows what the candidate writes until it is live."""

    def __init__(self, state_dir: Path, progress: Progress) -> None:
        self._state_dir = state_dir
        self._progress = progress
        self._generation: int | None = None
        self._offset = 0
        self._partial = b""

    def note(self, event: Event) -> None:
        """Follow the generation that is launched, and no longer wait for the end of a line when it is decided."""
        generation = event.get("generation")
        if event["event"] == "generation.launched" and isinstance(generation, int):
            self._finish()
            self._generation, self._offset = generation, 0
        elif event["event"] in DECISIONS:
            self._finish()

    def show_more(self) -> None:
        """Show the lines that are new."""
        if self._generation is None:
            return
        try:
            with open_to_read(self._state_dir / f"generation-{self._generation}.boot") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:  # gone with its generation, or not there yet
            return
        self._offset += len(data)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._show(line)

    def _finish(self) -> None:
        if self._partial:
            self._show(self._partial)
            self._partial = b""

    def _show(self, line: bytes) -> None:
        if self._generation is not None:
            self._progress.output(self._generation, line.decode(errors="backslashreplace"))
