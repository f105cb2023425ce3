"""Following a deploy in the journal until it has an outcome, with its steps, its output and the state of the agent."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from rainbowd.cli import deploy_step
from rainbowd.cli.terminal import print_error
from rainbowd.errors import RainbowdError, TimedOut
from rainbowd.report import status
from rainbowd.report.history import RESULTS
from rainbowd.report.lock import holder
from rainbowd.report.state_dir import open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rainbowd.cli.deploy_request import TriggerFile
    from rainbowd.cli.deploy_tracker import DeployResult, DeployTracker
    from rainbowd.cli.progress_printer import Progress
    from rainbowd.report.journal import Event
    from rainbowd.report.tail import Tail

POLL_SECONDS = 0.03
STEP_SECONDS = 0.25
GONE_SECONDS = 1.0
"""How long the lock may be free before the agent counts as gone: a new agent may be taking the place of the old one."""
BAKING_GONE_SECONDS = 30.0
"""The same during a bake, which the next agent continues as soon as a service manager has started it."""
RESEND_SECONDS = 3.0
"""How long to wait before the request is written again: an agent compares the files twice a second."""
WRITES_BEFORE_WARNING = 2
UNSEEN = (
    "warning: the agent has not seen the request yet; "
    "if trigger_file or release was changed in the config after the agent started, run `rainbowd upgrade`"
)


class AgentGone(RainbowdError):
    """The end of the agent before the deploy had an outcome.

    Args:
        is_continued: whether the release is live, so that the next agent continues the deploy.
    """

    def __init__(self, *, is_continued: bool) -> None:
        told = "during the bake, which the next one continues: `rainbowd history` shows its outcome"
        super().__init__(f"the agent exited {told if is_continued else 'before the deploy finished'}")
        self.is_continued = is_continued


def follow(
    tracker: DeployTracker,
    tail: Tail,
    state_dir: Path,
    progress: Progress,
    *,
    trigger: TriggerFile | None,
    timeout_seconds: float | None,
) -> DeployResult:
    """Wait until the deploy has an outcome, show each step, and return the outcome.

    Args:
        tracker: finds the events of our deploy.
        tail: the journal, from before the deploy was requested.
        state_dir: the directory of the journal.
        progress: shows the steps and the output.
        trigger: the file with our request; None if the deploy is known already.
        timeout_seconds: the limit in seconds; None waits as long as it takes.

    Raises:
        TimedOut: the deploy continues.
        AgentGone: the agent exited before the deploy finished.
        RainbowdError: the journal or the lock can no longer be read.
    """
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    agent, pending = _Agent(state_dir, progress), None if trigger is None else _PendingRequest(tracker, trigger)
    display = _Display(state_dir, progress)
    while True:
        lines = tail.read()
        display.show(tracker.read([json.loads(line.text) for line in lines]))
        display.show_current(tracker.deploy)
        if tracker.outcome is not None:
            return tracker.outcome
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut(f"no outcome within {timeout_seconds:g} seconds; the deploy continues")
        if not lines:
            agent.require(is_baking=tracker.is_baking)
            if pending is not None:
                pending.check()
            time.sleep(POLL_SECONDS)


class _Display:
    """What the user sees of the deploy: its events, its steps and the output."""

    def __init__(self, state_dir: Path, progress: Progress) -> None:
        self._progress = progress
        self._output = _Output(state_dir, progress)
        self._steps = _Steps(state_dir, progress)

    def show(self, events: Iterable[Event]) -> None:
        """Show the events of the deploy, each after the output that was written before it."""
        for event in events:
            self._output.show_more()
            self._output.handle(event)
            self._steps.handle(event)
            self._progress.event(event)

    def show_current(self, deploy: str | None) -> None:
        """Show the output so far, and the current step of the deploy with this id; None if it has none yet."""
        self._output.show_more()
        self._steps.show_current(deploy)


class _Agent:
    """The presence of an agent; after a restart or an upgrade another one does as well."""

    def __init__(self, state_dir: Path, progress: Progress) -> None:
        self._state_dir = state_dir
        self._progress = progress
        self._missing_since: float | None = None

    def require(self, *, is_baking: bool) -> None:
        """Check that there is an agent, or that one may still come.

        Raises:
            AgentGone: there is none, and has not been for a while.
        """
        now = time.monotonic()
        if holder(self._state_dir) is not None:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = now
        elif now - self._missing_since >= (BAKING_GONE_SECONDS if is_baking else GONE_SECONDS):
            raise AgentGone(is_continued=is_baking)
        elif is_baking and now - self._missing_since >= GONE_SECONDS:
            self._progress.waiting("the agent has exited; waiting for the next one, which continues the bake")


class _PendingRequest:
    """A request that the journal does not contain yet; see rules 2 and 5 of ``deploy_tracker``."""

    def __init__(self, tracker: DeployTracker, trigger: TriggerFile) -> None:
        self._tracker = tracker
        self._trigger = trigger
        self._written_at = time.monotonic()
        self._writes = 1

    def check(self) -> None:
        """Write the request again, after some seconds in which the agent has not seen it."""
        if self._tracker.deploy is not None:
            return
        self._tracker.is_replaced = self._tracker.is_replaced or not self._trigger.is_unchanged()
        if time.monotonic() - self._written_at >= RESEND_SECONDS:
            if self._writes == WRITES_BEFORE_WARNING:
                print_error(UNSEEN)
            self._trigger.write()
            self._written_at = time.monotonic()
            self._writes += 1


class _Steps:
    """The current step of the deploy and the output of its hooks, as the status contains them."""

    def __init__(self, state_dir: Path, progress: Progress) -> None:
        self._state_dir = state_dir
        self._progress = progress
        self._read_at = 0.0
        self._step = ""
        self._shown: list[str] = []

    def show_current(self, deploy: str | None) -> None:
        """Read the status and show the step, at most four times a second: the agent does not write it more often."""
        if deploy is None or time.monotonic() - self._read_at < STEP_SECONDS:
            return
        self._read_at = time.monotonic()
        with contextlib.suppress(RainbowdError, KeyError, TypeError, ValueError):  # of another version, or unreadable
            told: Any = status.read(self._state_dir) or {}
            deploying = told["deploying"]
            if deploying is not None and deploying["deploy"] == deploy:
                self._step = str(deploying["step"])
                self._show(deploy_step.new_lines(deploying, len(self._shown)))
                self._progress.waiting(deploy_step.describe(deploying, told["generations"]))

    def handle(self, event: Event) -> None:
        """Show the rest of a hook's output when the hook ends."""
        output = event.get("output")
        if event["event"] == "hook.ended" and isinstance(output, list):
            self._step = str(event.get("hook"))
            self._show(deploy_step.remaining_lines(self._shown, [str(line) for line in output]))

    def _show(self, lines: list[str]) -> None:
        for line in lines:
            self._progress.output(self._step, line)
        self._shown += lines


class _Output:
    """The output of the candidate until it is live."""

    def __init__(self, state_dir: Path, progress: Progress) -> None:
        self._state_dir = state_dir
        self._progress = progress
        self._generation: int | None = None
        self._offset = 0
        self._partial = b""

    def handle(self, event: Event) -> None:
        """Start with the output of a generation at its launch; show an unfinished line at the end of the deploy."""
        generation = event.get("generation")
        if event["event"] == "generation.launched" and isinstance(generation, int):
            self._finish()
            self._generation, self._offset = generation, 0
        elif event["event"] in RESULTS:
            self._finish()

    def show_more(self) -> None:
        """Show the lines that were written since the last call."""
        if self._generation is None:
            return
        try:
            with open_to_read(self._state_dir / f"generation-{self._generation}.boot") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:  # removed with its generation, or not written yet
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
