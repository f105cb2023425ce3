"""The progress of the deploy that is under way, for those who wait for it."""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.deploy.generations.error_watch import ErrorWatch

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


class Progress:
    """The current step of one deploy.

    Args:
        now: returns seconds since the epoch.
        on_change: called at each new step.

    Attributes:
        step: the current step; ``BOOT`` until the candidate is healthy, as its checks are not known here.
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
        self.step = Step.PLAN
        self._now = now
        self._on_change = on_change

    @property
    def is_baking(self) -> bool:
        """Whether the release is live, and watched."""
        return self.step is Step.BAKE

    def begin(self, step: Step) -> None:
        """Begin ``step``, and drop the output of the step before."""
        self.since = self._now()
        self.output.clear()
        self.output_lines = 0
        self.step = step
        self._on_change()

    def add_output(self, line: str) -> None:
        """Add one line that the running hook has written."""
        self.output.append(line)
        self.output_lines += 1
