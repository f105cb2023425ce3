"""Time limits of connections, checked once a tick instead of by a timer for each."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

_TICK_SECONDS = 0.1
"""The interval of the checks, by which a limit can be late."""


class Alarm:
    """One time limit, which can be replaced at any time.

    Args:
        deadlines: check the limit.

    Attributes:
        deadline: on the monotonic clock, in seconds; ``expire`` is called after it.
        watched_until: when ``Deadlines`` checks the deadline next.
    """

    __slots__ = ("_deadlines", "_on_deadline", "deadline", "watched_until")

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadline = self.watched_until = math.inf
        self._deadlines = deadlines
        self._on_deadline: Callable[[], None] | None = None

    def arm(self, limit_seconds: float | None, on_deadline: Callable[[], None]) -> None:
        """Start a time limit, which replaces the current one.

        Args:
            limit_seconds: None for no limit.
            on_deadline: called when the limit has passed.
        """
        self._on_deadline = on_deadline
        if limit_seconds is None:
            self.deadline = math.inf
        else:
            self.deadline = time.monotonic() + limit_seconds
            if self.deadline < self.watched_until:
                self._deadlines.watch(self)

    def arm_earlier(self, limit_seconds: float, on_deadline: Callable[[], None]) -> None:
        """Start a time limit, unless the current one ends sooner. The arguments are those of ``arm``."""
        if time.monotonic() + limit_seconds < self.deadline:
            self.arm(limit_seconds, on_deadline)

    def disarm(self) -> None:
        """Clear the time limit, if there is one."""
        self.deadline = math.inf
        self._on_deadline = None

    def expire(self) -> None:
        """Call the function given to ``arm``, because the limit has passed."""
        on_deadline = self._on_deadline
        self.disarm()
        if on_deadline is not None:
            on_deadline()

    def remove(self) -> None:
        """Clear the time limit for good, because its owner ends."""
        self.disarm()
        self._deadlines.unwatch(self)


class Deadlines:
    """The alarms by the tick in which they are checked next.

    Moving a deadline to a later time costs nothing: the alarm keeps its place and is moved when it is checked.
    Only an earlier deadline moves the alarm at once.
    """

    def __init__(self) -> None:
        self._by_tick: dict[int, set[Alarm]] = {}
        self._next_tick = _tick(time.monotonic())

    def watch(self, alarm: Alarm) -> None:
        """Check ``alarm`` at its deadline, which is earlier than its next check so far."""
        self.unwatch(alarm)
        alarm.watched_until = alarm.deadline
        self._by_tick.setdefault(_tick(alarm.deadline), set()).add(alarm)

    def unwatch(self, alarm: Alarm) -> None:
        """Stop checking the deadline of ``alarm``; idempotent."""
        if alarm.watched_until < math.inf:
            tick = _tick(alarm.watched_until)
            alarm.watched_until = math.inf
            watched = self._by_tick[tick]
            watched.discard(alarm)
            if not watched:
                del self._by_tick[tick]

    async def run(self) -> None:
        """Call ``expire`` of each alarm whose deadline has passed, until cancelled."""
        while True:
            await trio.sleep(_TICK_SECONDS)
            now_seconds = time.monotonic()
            while self._next_tick < _tick(now_seconds):
                self._check(self._next_tick, now_seconds)
                self._next_tick += 1

    def _check(self, tick: int, now_seconds: float) -> None:
        for alarm in list(self._by_tick.get(tick, ())):
            self.unwatch(alarm)
            if alarm.deadline <= now_seconds:
                alarm.expire()
            elif alarm.deadline < math.inf:
                self.watch(alarm)


def _tick(seconds: float) -> int:
    return int(seconds / _TICK_SECONDS)
