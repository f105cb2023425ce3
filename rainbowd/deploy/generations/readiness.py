"""A candidate's check against its own end and against being dropped: whichever comes first decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.interfaces import PortTaken
from rainbowd.deploy.process.exit_status import describe_exit
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from rainbowd.deploy.interfaces import App


async def until_ready(app: App, candidacy: trio.CancelScope, *, is_left: bool) -> DeployFailed | None:
    """Wait until it is healthy, or will not be.

    Args:
        app: whose gate is open.
        candidacy: cancelled where it is dropped.
        is_left: an earlier agent launched it.

    Returns:
        Why it is not healthy, with its last lines; None where it is.
    """
    failure: DeployFailed | None = DeployFailed("dropped before it was ready")
    with candidacy:
        async with trio.open_nursery() as nursery:

            async def watch_end() -> None:
                nonlocal failure
                failure = _why_ended(app, await app.ended(), is_left=is_left)
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch_end)
            try:
                await app.check()
                failure = None
            except DeployFailed as error:
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        failure.output = failure.output or app.last_lines()
    return failure


def _why_ended(app: App, status: int | None, *, is_left: bool) -> DeployFailed:
    if is_left:
        return DeployFailed("the app ended while no agent ran")
    said = f"the app {describe_exit(status)} before it was ready"
    return PortTaken(f"{said}; a stranger holds its port") if app.port_is_taken() else DeployFailed(said)
