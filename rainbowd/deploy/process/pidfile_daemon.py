"""The daemon that a child has started, which is then the main process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.deploy.process.reaper import reap, release_status, reserve_status

if TYPE_CHECKING:
    from rainbowd.deploy.process.membership import Members
    from rainbowd.deploy.process.procfs import ProcessInfo


class PidfileDaemon:
    """The daemon of one generation, if it has one.

    Attributes:
        entry: the process; None if there is no daemon.
        status: the exit status of the last daemon that ended, negative for a signal; None if unknown.
    """

    def __init__(self) -> None:
        self.entry: ProcessInfo | None = None
        self.status: int | None = None

    def refresh(self, found: Members, child: int) -> None:
        """Follow the process that the pidfile names, and stop following a process that has ended.

        Args:
            found: the result of the last search.
            child: number of the launched process, which is not a daemon even if the pidfile names it.
        """
        if found.named is not None and found.named.pid != child:
            self.follow(found.named)
        if self.entry is not None and self.entry.pid not in {entry.pid for entry in found.live}:
            self.follow(None)

    def follow(self, entry: ProcessInfo | None) -> None:
        """Follow this process from now on, and record its exit status when it ends; None follows no process."""
        followed, self.entry = self.entry, entry
        if entry is not None:
            reserve_status(entry.pid, entry.start_time)
        if followed is not None and (entry is None or entry.pid != followed.pid):
            status = reap(followed.pid, followed.start_time)
            self.status = self.status if status is None else status
            release_status(followed.pid, followed.start_time)
