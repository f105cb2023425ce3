"""The wait of a candidate for its health check, its exit, or a cancellation, whichever comes first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.failures import PortTaken
from rainbowd.deploy.process.exit_status import describe_exit
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rainbowd.deploy.interfaces import App

_IN_USE = re.compile(r"already (running|in use|locked)|is locked|resource temporarily unavailable", re.IGNORECASE)
"""What apps print if they need for themselves what the live generation has: a pid file, a port, or a lock."""


async def until_ready(app: App, candidacy: trio.CancelScope, *, is_adopted: bool) -> DeployFailed | None:
    """Wait until the app is healthy, or cannot become healthy.

    Args:
        app: the processes of the candidate, which run.
        candidacy: cancelled if the candidate is dropped.
        is_adopted: whether an earlier agent has launched it.

    Returns:
        Why the app is not healthy, with its last lines; None if it is.
    """
    failure: DeployFailed | None = DeployFailed("dropped before it was ready")
    has_exited = False
    with candidacy:
        async with trio.open_nursery() as nursery:

            async def watch_exit() -> None:
                nonlocal failure, has_exited
                failure = _why_exited(app, await app.ended(), is_adopted=is_adopted)
                has_exited = not is_adopted
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch_exit)
            try:
                await app.check()
                failure = None
            except DeployFailed as error:
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        failure.output = failure.output or app.last_lines()
        if has_exited and not isinstance(failure, PortTaken):
            failure = DeployFailed(failure.reason + sharing_hint(failure.output), failure.output)
    return failure


def sharing_hint(output: Iterable[str]) -> str:
    """Return what to do if ``output`` says that something is in use by another process; empty if it does not."""
    if not any(map(_IN_USE.search, output)):
        return ""
    return "; two generations run side by side during a deploy: use {port}, {pidfile} or {generation} for what differs"


def _why_exited(app: App, status: int | None, *, is_adopted: bool) -> DeployFailed:
    if is_adopted:
        return DeployFailed("the app exited while no agent was running")
    reason = f"the app {describe_exit(status)} before it was ready"
    return PortTaken(f"{reason}; another program holds its port") if app.port_is_taken() else DeployFailed(reason)
