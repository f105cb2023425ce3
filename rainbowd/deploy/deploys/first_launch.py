"""The choice of what a starting agent launches if no earlier agent has left a live generation."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.failures import INTERRUPTED
from rainbowd.deploy.watch.file_state import link_changed, trigger_touched

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.deploy.interfaces import DesiredState
    from rainbowd.deploy.records import DeployMemory
    from rainbowd.deploy.watch.file_state import FileState

_POLL_SECONDS = 0.5


class FirstLaunch(enum.Enum):
    """What a starting agent launches while nothing is live."""

    NAMED = enum.auto()  # deploy the release that the files name
    LAST_GOOD = enum.auto()  # launch the release that was live before the last deploy failed
    WAIT = enum.auto()  # wait for the first release, because there was never one


def choose_first_launch(memory: DeployMemory, now: FileState | None, last_good_release: Path | None) -> FirstLaunch:
    """Return what to launch first.

    If the release that the files name has failed and nobody has requested it again since, the release that was live
    before it comes first. That one is more likely to work, and the failed release may take long to fail again.

    Args:
        memory: the memory of the last agent.
        now: the state of the files; None if it is unknown.
        last_good_release: the release that was live last and still exists; None if there is none.
    """
    if now is None:
        return FirstLaunch.NAMED
    if memory.last_outcome is None and memory.live_release is None and now.release is None:
        return FirstLaunch.WAIT
    if last_good_release is None or last_good_release == now.release:
        return FirstLaunch.NAMED
    return FirstLaunch.LAST_GOOD if _has_failed(memory, now) else FirstLaunch.NAMED


async def until_release_exists(desired_state: DesiredState) -> None:
    """Wait until the files name a release that exists.

    Args:
        desired_state: reads the files.
    """
    while (now := desired_state.file_state()) is None or now.release is None:  # noqa: ASYNC110 - no event reports a new release
        await trio.sleep(_POLL_SECONDS)


def _has_failed(memory: DeployMemory, now: FileState) -> bool:
    """Return whether the last deploy failed by itself, and the files have not changed since."""
    last, then = memory.last_outcome, memory.sight
    if last is None or last.result != "failed" or last.reason == INTERRUPTED or then is None:
        return False
    return not link_changed(then, now) and not trigger_touched(then, now)
