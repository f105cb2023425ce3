"""The progress of the deploy that is under way, for those who wait for it."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.deploy.generations.error_watch import ErrorWatch
    from rainbowd.deploy.generations.lifecycle import Lifecycle

OUTPUT_LINES = 50


class Step(enum.Enum):
    """The steps of a deploy in their order; not every deploy has all of them."""

    PLAN = "plan"  # the config and the release are read
    SLOT = "slot"  # max_generations are alive, and the deploy waits until one has ended
    BEFORE_LAUNCH = "before_launch"  # the hook runs
    BOOT = "boot"  # the app was launched, and no health check has returned yet
    HEALTH = "health"  # at least one health check has returned, and the app is not healthy yet
    CANARY = "canary"  # it gets a share of the clients
    BAKE = "bake"  # it is live, and watched


class Judged(Protocol):
    """A canary or a bake that is under way.

    Attributes:
        watch: counts the requests and errors.
        until_seconds: the end of the step, in seconds since the epoch.
    """

    watch: ErrorWatch
    until_seconds: float


@dataclass(frozen=True)
class ProgressView:
    """The current step of a deploy at one moment; for the attributes see ``Progress``."""

    step: Step
    since: float
    judged: Judged | None
    output: list[str]
    output_lines: int
    last_check: str | None


class Progress:
    """The current step of one deploy.

    Args:
        now: returns seconds since the epoch.
        on_change: called at each new step.

    Attributes:
        since: when the current step began, in seconds since the epoch.
        judged: the canary or the bake that is under way; None if there is none.
        output: the last lines of the running hook, oldest first; empty while none runs.
        output_lines: how many lines that hook has written so far.
    """

    def __init__(self, now: Callable[[], float], on_change: Callable[[], None]) -> None:
        self.since = now()
        self.output: deque[str] = deque(maxlen=OUTPUT_LINES)
        self.output_lines = 0
        self.judged: Judged | None = None
        self._step = Step.PLAN
        self._now = now
        self._on_change = on_change
        self._candidate: Lifecycle | None = None

    @property
    def is_baking(self) -> bool:
        """Whether the release is live, and watched."""
        return self._step is Step.BAKE

    def view(self) -> ProgressView:
        """Return the current step, with the result of the candidate's last health check."""
        last_check = None if self._candidate is None else self._candidate.last_check
        step = Step.HEALTH if self._step is Step.BOOT and last_check is not None else self._step
        return ProgressView(step, self.since, self.judged, list(self.output), self.output_lines, last_check)

    def begin(self, step: Step) -> None:
        """Begin ``step``, and drop the output of the step before."""
        self.since = self._now()
        self.output.clear()
        self.output_lines = 0
        self._step = step
        self._on_change()

    def begin_boot(self, candidate: Lifecycle) -> None:
        """Begin the step ``BOOT`` of a candidate that has just been launched."""
        self._candidate = candidate
        self.begin(Step.BOOT)

    def add_output(self, line: str) -> None:
        """Add one line that the running hook has written."""
        self.output.append(line)
        self.output_lines += 1
