"""A generation's processes: found in /proc, followed, ended and reaped.

The launched process is the *child*.  The process that serves is the *main process*: the child, or a daemon that the
child started.  Both are identified by number and start time and signalled through pidfds.  So the processes that an
earlier agent launched need no code of their own. They are not children of this agent, so their exit status is unknown.
"""

from __future__ import annotations

import math
import os
import select
from contextlib import suppress
from dataclasses import dataclass
from signal import pidfd_send_signal
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process import launches
from rainbowd.deploy.process.cgroups import remove_cgroup
from rainbowd.deploy.process.ending import REFRESH_SECONDS, end_processes
from rainbowd.deploy.process.launches import Launch
from rainbowd.deploy.process.membership import find_membership
from rainbowd.deploy.process.pidfile_daemon import PidfileDaemon
from rainbowd.deploy.process.procfs import (
    ProcReader,
    children,
    open_pidfd,
    read_entry,
    read_pidfile,
    read_table,
    until_ended,
)
from rainbowd.deploy.process.reaper import reap, reap_orphans, release_status, reserve_status
from rainbowd.deploy.process.survivors import keep_survivors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.deploy.process.launches import LaunchMarks
    from rainbowd.deploy.process.membership import Members
    from rainbowd.deploy.process.process_identity import ProcessIdentity
    from rainbowd.deploy.process.procfs import ProcessInfo

_REFRESH_LIMIT_SECONDS = 10.0


@dataclass(frozen=True)
class ExitReport:
    """How a generation's processes ended.

    Attributes:
        exit_status: of the main process, negative for a signal, None if unknown.
        killed: some of the processes were killed.
        left: numbers of the processes that could not be ended.
        reason: their names and accounts, and why they could not be ended, as text; empty if there are none.
    """

    exit_status: int | None
    killed: bool
    left: list[int]
    reason: str = ""


class ProcessTree:
    """The processes of one generation or hook.

    Several tasks can wait at the same time, for the child, for the app or for the end: each waits on a descriptor of
    its own, and the first that wakes up reaps.

    Args:
        identity: the identity of the child.
        pidfd: of the child, opened when it had the start time of ``identity``; closed when the child has ended; -1 if
            it had ended before.
        marks: the marks by which its processes are recognized.
        gate: the write end of the pipe on which the child waits for a line; -1 if it runs already.
        known: processes that were found before, number to start time.

    Attributes:
        identity, marks: see above.
        pid: the number of the child.
        launch: the evidence by which its processes are found.
        exit_status: of the child, once it was reaped; negative for a signal, None if unknown.
    """

    def __init__(
        self,
        identity: ProcessIdentity,
        pidfd: int,
        marks: LaunchMarks,
        *,
        gate: int = -1,
        known: Mapping[int, int] | None = None,
    ) -> None:
        self.identity = identity
        self.pid = identity.pid
        self.marks = marks
        self.exit_status: int | None = None
        self._pidfd = pidfd
        self._gate = gate
        self._reaped = self._may_have_forked = pidfd < 0
        self.launch = Launch.of(identity, marks, (known or {}).items())
        self._daemon = PidfileDaemon()
        self._refreshing = trio.Lock()
        reserve_status(identity.pid, identity.start_time)
        launches.register(self.launch)

    @classmethod
    def found(cls, identity: ProcessIdentity, marks: LaunchMarks, known: Mapping[int, int]) -> ProcessTree:
        """Return the processes of a generation that an earlier agent launched, as far as they still run.

        We are not their parent, so their exit status stays unknown.

        Args:
            identity: from the record of the generation, which is of this boot.
            marks: the marks by which its processes are recognized.
            known: the other processes in the record, number to start time.
        """
        return cls(identity, open_pidfd(identity.pid, identity.start_time), marks, known=known)

    @property
    def known(self) -> dict[int, int]:
        """The processes that the last search found, number to start time: see ``Launch``."""
        return self.launch.known

    @property
    def is_alive(self) -> bool:
        """Whether the child has not ended."""
        if self._reaped:
            return False
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    def open_gate(self) -> None:
        """Let the app run; do nothing if it runs already."""
        if self._gate >= 0:
            with suppress(BrokenPipeError):  # the child has ended, and ``wait`` returns
                os.write(self._gate, b"\n")
        self.close_gate()

    def close_gate(self) -> None:
        """Close the gate; if it was not opened, the child exits, and the app never runs."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def hand_over(self) -> None:
        """Leave the processes to another agent; those that are its children are reaped as orphans when they end."""
        self.close_gate()
        self._daemon.follow(None)
        launches.unregister(self.launch)
        if not self._reaped:
            self._reaped = True
            release_status(self.pid, self.identity.start_time)
            os.close(self._pidfd)

    def signal(self, signum: int) -> None:
        """Send ``signum`` to the child, if that has not ended."""
        if self.is_alive:
            pidfd_send_signal(self._pidfd, signum)

    async def wait(self) -> int | None:
        """Wait until the child has ended, and return its exit status, negative for a signal, None if unknown."""
        if not self._reaped:
            own = os.dup(self._pidfd)  # trio lets one task wait for a descriptor
            try:
                await trio.lowlevel.wait_readable(own)
            finally:
                os.close(own)
            # The kernel does not reuse the number of a zombie, which is also that of its session.  So search for the
            # processes that it leaves before it is reaped.
            await self.refresh()
            self._reap()
        return self.exit_status

    async def members(self) -> list[int]:
        """Return the numbers of the processes that have not ended, the main process first."""
        found = await self.refresh()
        main = self.find_main(found)
        return sorted((entry.pid for entry in found.live), key=lambda pid: main is None or pid != main.pid)

    async def main(self) -> int | None:
        """Return the number of the main process, or None if that has ended."""
        found = await self.refresh()
        main = self.find_main(found)
        return None if main is None else main.pid

    def glimpse(self, main: int | None) -> object:
        """Return a value that changes when the main process may have changed, or an orphan became a child of the agent.

        It takes a few reads; a search reads all of /proc.

        Args:
            main: number of the main process; None if there is none.
        """
        entry = read_entry(main or 0)
        return read_pidfile(self.launch.pidfile), entry is not None and not entry.ended, children()

    async def foreign(self) -> list[int]:
        """Return the numbers of descendants of another account, which are never signalled."""
        return [entry.pid for entry in (await self.refresh()).foreign]

    async def ended(self) -> int | None:
        """Wait until the main process has ended, and return its exit status, negative for a signal, None if unknown.

        A child that exits with 0, or whose exit status is unknown, may have started a daemon, which is then the main
        process.
        """
        if await self.wait() not in {0, None}:
            return self.exit_status
        patience_seconds = REFRESH_SECONDS
        while (main := self.find_main(found := await self.refresh())) is not None:
            with trio.move_on_after(math.inf if main == found.named else patience_seconds):
                await until_ended(main)
            patience_seconds = min(patience_seconds * 2, _REFRESH_LIMIT_SECONDS)
        return self._main_status()

    async def end(self, *, signal: int, kill_after_seconds: float, stop_now: trio.Event) -> ExitReport:
        """End all processes, and reap the children among them.

        Args:
            signal: asks a process to end; each process gets it once, the main process first, see ``end_processes``.
            kill_after_seconds: time until the processes that are left are killed.
            stop_now: once this is set, they are killed at once.
        """
        self.close_gate()
        killed, left = await end_processes(self, signal, patience_seconds=kill_after_seconds, stop_now=stop_now)
        self._reap()
        self._daemon.follow(None)
        launches.unregister(self.launch)
        await trio.to_thread.run_sync(reap_orphans)
        if self.marks.cgroup is not None:
            await trio.to_thread.run_sync(remove_cgroup, self.marks.cgroup)
        reason = await trio.to_thread.run_sync(keep_survivors, left, self.launch)
        return ExitReport(self._main_status(), killed, [entry.pid for entry in left], reason)

    async def refresh(self) -> Members:
        """Search for its processes and store them; return the result."""
        async with self._refreshing:
            found = await trio.to_thread.run_sync(self._find)
            entries = (*found.live, *found.ended, *found.foreign)
            self.launch.known = {entry.pid: entry.start_time for entry in entries}
            return found

    def _find(self) -> Members:
        """Find its processes; for a thread, as it reads all of /proc.

        If no process is found, search again: a daemon's parent may fork and end after /proc was listed and before its
        own entry was read, and its child is not in that list.
        """
        found = self._find_once()
        return found if found.live else self._find_once()

    def _find_once(self) -> Members:
        return find_membership(read_table(), launches.all_launches(self.launch), ProcReader()).members(self.launch)

    def find_main(self, found: Members) -> ProcessInfo | None:
        """Return the main process, or None if it has ended.

        It is the process that the pidfile names, else the child.  If the child has exited with 0, or had ended before
        this agent followed it, it may have started a daemon: without a pidfile, the oldest process that is left.

        Args:
            found: the result of the last search.
        """
        if found.named is not None or self._daemon.entry is not None:
            self._daemon.refresh(found, self.pid)
        main = self._daemon.entry or next((entry for entry in found.live if entry.pid == self.pid), None)
        has_forked = self._reaped and (self._may_have_forked or self._main_status() == 0)
        if main is None and found.live and has_forked:
            main = found.live[0]
            self._daemon.follow(main)
        return main

    def _main_status(self) -> int | None:
        """Return the exit status of the main process, or None if it is unknown.

        If the pidfile names the child of a wrapper, only the wrapper knows its status, and usually exits with it.
        """
        return self.exit_status if self._daemon.status is None else self._daemon.status

    def _reap(self) -> None:
        if not self._reaped and not self.is_alive:
            self._reaped = True
            self.exit_status = reap(self.pid, self.identity.start_time)
            release_status(self.pid, self.identity.start_time)
            os.close(self._pidfd)
