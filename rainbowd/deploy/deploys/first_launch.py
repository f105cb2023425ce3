"""What the first launch of an agent is, if what an earlier one left is not live."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.interfaces import INTERRUPTED
from rainbowd.deploy.watch.file_state import link_changed, trigger_touched

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.interfaces import Host
    from rainbowd.deploy.records import DeployMemory
    from rainbowd.deploy.watch.file_state import FileState

_LOOK_SECONDS = 0.5


class First(enum.Enum):
    """What to begin with while nothing is live."""

    NAMED = enum.auto()  # deploy the release that the files name
    LAST_GOOD = enum.auto()  # launch what was live before the deploy that failed last
    WAIT = enum.auto()  # there was never a release yet


def first(memory: DeployMemory, now: FileState | None, last_good: Path | None) -> First:
    """Return what to begin with.

    A release that has failed is on record.  Nobody has asked for it again, so that what was live before it comes first:
    it is more likely to work, and the failed one may take long to fail again.

    Args:
        memory: of the last agent.
        now: what the files look like; None if that is unknown.
        last_good: the release that was live last and is still there; None if there is none.
    """
    if now is None:
        return First.NAMED
    if memory.decision is None and memory.live_release is None and now.release is None:
        return First.WAIT
    if last_good is None or last_good == now.release:
        return First.NAMED
    return First.LAST_GOOD if _has_failed(memory, now) else First.NAMED


async def until_there(world: Host) -> None:
    """Wait until the files name a release that is there."""
    while (now := world.look()) is None or now.release is None:  # noqa: ASYNC110 - no event says that it has come
        await trio.sleep(_LOOK_SECONDS)


def _has_failed(memory: DeployMemory, now: FileState) -> bool:
    """Whether the last deploy failed by itself, and the files are as they were for it."""
    decision, then = memory.decision, memory.sight
    if decision is None or decision.result != "failed" or decision.reason == INTERRUPTED or then is None:
        return False
    return not link_changed(then, now) and not trigger_touched(then, now)
