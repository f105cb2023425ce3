"""The ways between events and cancellation: work that an event cancels, and work that must be asked to end."""

from __future__ import annotations

import trio


async def cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    """Wait until ``event`` is set, and cancel ``scope`` then."""
    await event.wait()
    scope.cancel()


async def set_when_cancelled(event: trio.Event) -> None:
    """Wait until cancelled, and set ``event`` then, for a thread or a shielded task that cannot be cancelled."""
    try:
        await trio.sleep_forever()
    finally:
        event.set()
