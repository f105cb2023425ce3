"""Keeps the state directory if something removes it under the agent: ``git clean``, ``rsync --delete``, a restore.

The agent serves on without it, but no command would find the agent, no deploy could write, and a second agent could
start.  So the agent compares the lock on disk with the one that it holds, as often as it compares the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.errors import UsageError
from rainbowd.log import get_logger
from rainbowd.report.state_dir import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.report.lock import Lock

LOOK_SECONDS = 0.5

log = get_logger()


class Keeping:
    """Makes the state directory and the lock again when they are gone.

    Args:
        lock: held.
        state_dir: where it is.
        is_searched: see ``prepare``.
        write_again: writes what a later agent has to find.
    """

    def __init__(self, lock: Lock, state_dir: Path, *, is_searched: bool, write_again: Callable[[], None]) -> None:
        self._lock = lock
        self._state_dir = state_dir
        self._is_searched = is_searched
        self._write_again = write_again
        self._refusal: str | None = None

    async def run(self, publish: Callable[[], None]) -> None:
        """Compare until cancelled.

        Args:
            publish: writes ``status.json``.
        """
        while True:
            await trio.sleep(LOOK_SECONDS)
            if await self.is_kept_again():
                publish()

    async def is_kept_again(self) -> bool:
        """Return whether the lock was lost, and is there again with all that goes with it; report it once."""
        try:
            if not await trio.to_thread.run_sync(self._retake, abandon_on_cancel=True):
                return False
            self._write_again()
        except (OSError, UsageError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            if reason != self._refusal:
                self._refusal = reason
                log.error("the state directory was removed and cannot be made again", file=self._state_dir, why=reason)
            return False
        self._refusal = None
        log.warning("the state directory was removed, and made again without its history", file=self._state_dir)
        return True

    def _retake(self) -> bool:
        """Return whether the lock was lost and is taken again.

        Raises:
            UsageError: another agent has it by now.
            OSError: the directory or the lock cannot be made.
        """
        if self._lock.is_lost():
            prepare(self._state_dir, is_searched=self._is_searched)
            self._lock.retake()
            return True
        if not self._lock.is_recorded():
            self._lock.claim()
        return False
