"""The cancellation of work that must be asked to end, such as a thread or a process."""

from __future__ import annotations

import trio


async def set_when_cancelled(event: trio.Event) -> None:
    """Wait until cancelled, and set ``event`` then, for a thread or a shielded task that cannot be cancelled."""
    try:
        await trio.sleep_forever()
    finally:
        event.set()
