"""The liveness probe: regular health checks of a serving generation, as ``health.liveness`` configures them."""

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
    app: App, health: Health | None, is_serving: Callable[[], bool], on_unresponsive: Callable[[], None]
) -> None:
    """Check the app's health until cancelled.

    Args:
        app: the processes of the generation.
        health: the interval, and how many failures in a row are too many; without ``liveness`` nothing is checked.
        is_serving: returns whether the generation gets new requests; a standby is not checked.
        on_unresponsive: called on every failed check once ``failures`` checks in a row have failed.
    """
    if health is None or health.liveness is None:
        return
    failures = 0
    while True:
        await trio.sleep(health.liveness.interval)
        reason = await app.probe() if is_serving() else None
        failures = failures + 1 if reason else 0
        if reason:
            log.warning(
                "a generation with requests failed its health check",
                address=str(app.address),
                reason=reason,
                in_a_row=failures,
            )
        if failures >= health.liveness.failures:
            on_unresponsive()


class ReplacementBackoff:
    """The delays between replacements of unresponsive live generations, which grow with each replacement."""

    def __init__(self) -> None:
        self._backoff = Backoff()
        self._replaced_at = self._until = -math.inf  # by trio's clock

    def allows_replacement(self, live_seconds: float) -> bool:
        """Return whether a generation may be replaced now; if so, the caller replaces it, which counts.

        Args:
            live_seconds: how long the generation has been live.
        """
        now = trio.current_time()
        if now < self._until:
            return False
        lived_seconds = min(live_seconds, now - self._replaced_at)
        self._replaced_at, self._until = now, now + self._backoff.next_delay_seconds(lived_seconds)
        return True
