"""Asking the live generation for its health now and then, as ``health.liveness`` says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.generations.backoff import Backoff
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.config import Health
    from rainbowd.deploy.interfaces import App

log = get_logger()


async def probe_liveness(
    app: App, health: Health | None, is_live: Callable[[], bool], on_silence: Callable[[], None]
) -> None:
    """Ask until cancelled, while ``is_live``.

    Args:
        app: whom.
        health: how, how often and how long to bear with it.
        is_live: a standby is left alone.
        on_silence: called at each failure from the one on that is the last to be borne with.
    """
    if health is None or health.liveness is None:
        return
    failures = 0
    while True:
        await trio.sleep(health.liveness.interval)
        problem = await app.probe() if is_live() else None
        failures = failures + 1 if problem else 0
        if problem:
            log.warning("the live generation is not well", address=str(app.address), seen=problem, in_a_row=failures)
        if failures >= health.liveness.failures:
            on_silence()


class ReplacementBackoff:
    """With live generations that are silent: each may be replaced, but less and less often."""

    def __init__(self) -> None:
        self._back_off = Backoff()
        self._replaced_at = self._until = -math.inf  # by trio's clock

    def is_over(self, live_for_seconds: float) -> bool:
        """Whether the one that has been live for so long may be replaced now, as it then is."""
        now = trio.current_time()
        if now < self._until:
            return False
        lived_seconds = min(live_for_seconds, now - self._replaced_at)
        self._replaced_at, self._until = now, now + self._back_off.after(lived_seconds)
        return True
