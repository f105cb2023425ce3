"""The daemon that a child has left behind, which is then the main process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rainbowd.deploy.process.reaper import await_status, let_go, reap

if TYPE_CHECKING:
    from rainbowd.deploy.process.attribution import Members
    from rainbowd.deploy.process.procfs import ProcessInfo


class Daemon:
    """At most one at a time, of one generation.

    Attributes:
        entry: the process; None where there is none.
        status: how one ended that was followed, negative for a signal; None if unknown.
    """

    def __init__(self) -> None:
        self.entry: ProcessInfo | None = None
        self.status: int | None = None

    def look(self, found: Members, child: int) -> None:
        """Follow whom the pidfile names, unless that is ``child``; one that has ended is followed no more."""
        if found.named is not None and found.named.pid != child:
            self.follow(found.named)
        if self.entry is not None and self.entry.pid not in {entry.pid for entry in found.live}:
            self.follow(None)

    def follow(self, entry: ProcessInfo | None) -> None:
        """Take this one for the main process, so that its exit status is the one to be known; None for none."""
        followed, self.entry = self.entry, entry
        if entry is not None:
            await_status(entry.pid, entry.start_time)
        if followed is not None and (entry is None or entry.pid != followed.pid):
            status = reap(followed.pid, followed.start_time)
            self.status = self.status if status is None else status
            let_go(followed.pid, followed.start_time)
