"""The reaping of orphans: processes of apps whose parents have exited."""

from __future__ import annotations

import trio

from rainbowd.deploy.process import reap_orphans

_REAP_SECONDS = 1.0


async def reap_repeatedly() -> None:
    """Reap orphans of the apps once a second: the agent is their subreaper, so orphans become its children."""
    while True:
        await trio.sleep(_REAP_SECONDS)
        await trio.to_thread.run_sync(reap_orphans)
