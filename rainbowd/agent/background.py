"""Background tasks of the agent that belong neither to a deploy nor to a request."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process import reap_orphans
from rainbowd.log import get_logger, load

if TYPE_CHECKING:
    from rainbowd.deploy.deploys.supervisor import Supervisor

_REAP_SECONDS = 1.0
_ADOPTION_SECONDS = 1.0
"""How long loading the log waits for the adoption of generations."""
_BURST_SECONDS = 0.3
"""For the requests that have waited for the adoption, which also go before the log."""

log = get_logger()


async def load_log(supervisor: Supervisor) -> None:
    """Load the library of the log once the live generation serves requests again, which loading would delay.

    Args:
        supervisor: adopts the generations.
    """
    with trio.move_on_after(_ADOPTION_SECONDS):
        await supervisor.started.wait()
        await trio.sleep(_BURST_SECONDS)
    try:
        await trio.to_thread.run_sync(load)
    except Exception as error:  # noqa: BLE001 - an incomplete installation must not end what was adopted
        log.error("structlog cannot be loaded", error=str(error), hint="install rainbowd again, then upgrade it")
    gc.freeze()  # as ``proxy.gc_tuning`` did with everything that was loaded before


async def reap_repeatedly() -> None:
    """Reap once a second what apps leave while they live: the agent is their subreaper, so it gets their orphans."""
    while True:
        await trio.sleep(_REAP_SECONDS)
        await trio.to_thread.run_sync(reap_orphans)
