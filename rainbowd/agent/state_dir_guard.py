"""A guard that restores the state directory if something removes it: ``git clean``, ``rsync --delete``, a restore.

Without the directory the agent still serves requests, but no command finds the agent, no deploy can write its records,
and a second agent could start.  So the agent regularly compares the lock file on disk with the one that it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.errors import UsageError
from rainbowd.log import get_logger
from rainbowd.report.state_dir import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rainbowd.report.lock import Lock

CHECK_SECONDS = 0.5

log = get_logger()


class StateDirGuard:
    """The task that restores the state directory and the lock if they are removed.

    Args:
        lock: the lock that this agent holds.
        state_dir: the directory.
        is_searched: see ``prepare``.
        rewrite: each writes files that a later agent must find.
    """

    def __init__(
        self, lock: Lock, state_dir: Path, *, is_searched: bool, rewrite: Sequence[Callable[[], None]]
    ) -> None:
        self._lock = lock
        self._state_dir = state_dir
        self._is_searched = is_searched
        self._rewrite = list(rewrite)
        self._logged_reason: str | None = None

    def also(self, rewrite: Callable[[], None]) -> None:
        """Call ``rewrite``, too, after the directory was restored; it writes files and can raise ``OSError``."""
        self._rewrite.append(rewrite)

    async def run(self, publish: Callable[[], None]) -> None:
        """Check the directory until cancelled.

        Args:
            publish: writes ``status.json``.
        """
        while True:
            await trio.sleep(CHECK_SECONDS)
            if await self.restore_if_lost():
                publish()

    async def restore_if_lost(self) -> bool:
        """Restore the directory if it was removed, and log that once.

        Returns:
            Whether it was lost and is restored.
        """
        try:
            if not await trio.to_thread.run_sync(self._retake_lock, abandon_on_cancel=True):
                return False
            for rewrite in self._rewrite:
                rewrite()
        except (OSError, UsageError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            if reason != self._logged_reason:
                self._logged_reason = reason
                log.error("cannot restore the state directory, which was removed", path=self._state_dir, error=reason)
            return False
        self._logged_reason = None
        log.warning("the state directory was removed; restored it without its history", path=self._state_dir)
        return True

    def _retake_lock(self) -> bool:
        """Take the lock again if it was lost.

        Returns:
            Whether it was lost and is held again.

        Raises:
            UsageError: another agent holds it.
            OSError: the directory or the lock file cannot be made.
        """
        if self._lock.is_lost():
            prepare(self._state_dir, is_searched=self._is_searched)
            self._lock.retake()
            return True
        if not self._lock.is_recorded():
            self._lock.claim()
        return False
