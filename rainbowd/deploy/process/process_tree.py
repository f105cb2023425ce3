"""A generation's processes: followed wherever they go, ended and reaped.

What was launched is the *child*.  What serves is the *main process*: the child, or the daemon that it left
behind.  Both are held by number and start time and signalled through pidfds, so that those an earlier agent
launched, which are not our children, are the same to all code here; only how they ended stays unknown.
"""

from __future__ import annotations

import math
import os
import select
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGKILL, pidfd_send_signal
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process import claims
from rainbowd.deploy.process.attribution import attribute
from rainbowd.deploy.process.cgroups import kill_cgroup, remove_cgroup
from rainbowd.deploy.process.claims import Claim
from rainbowd.deploy.process.daemon import Daemon
from rainbowd.deploy.process.procfs import (
    Sight,
    open_pidfd,
    read_entry,
    read_pidfile,
    read_table,
    send_signal,
    until_ended,
)
from rainbowd.deploy.process.reaper import await_status, children, let_go, reap, reap_orphans
from rainbowd.deploy.process.survivors import keep_survivors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.deploy.process.attribution import Members
    from rainbowd.deploy.process.claims import LaunchMarks
    from rainbowd.deploy.process.identity import ProcessIdentity
    from rainbowd.deploy.process.procfs import ProcessInfo

_LOOK_AGAIN_SECONDS = 0.5  # for what was forked, or written into a pidfile, meanwhile
_LOOK_SELDOM_SECONDS = 10.0
_KILL_SECONDS = 5.0  # for the kernel to end what was killed


@dataclass(frozen=True)
class ExitReport:
    """How a generation's processes ended.

    Attributes:
        exit_status: the main process's, negative for a signal, None if unknown.
        killed: some of them were killed.
        left: those that could not be ended.
        why: which these are, whose, and why they could not be ended, in words; empty if there are none.
    """

    exit_status: int | None
    killed: bool
    left: list[int]
    why: str = ""


class ProcessTree:
    """The processes of one generation.

    Any number of tasks may wait at the same time, for the child, for the app or for the end: each waits on a
    descriptor of its own, and whoever comes first reaps.

    Args:
        identity: of the child.
        pidfd: of the child, which was seen to have the start time of ``identity``; closed once that has
            ended; -1 where it had ended before anybody could look.
        marks: by which its processes are recognized.
        gate: the end of a pipe that the child waits for a line on; -1 where it does not.
        known: those seen before, number to start time.

    Attributes:
        marks: see above.
        exit_status: the child's, once it was reaped; negative for a signal, None if unknown.
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
        self.marks = marks
        self.exit_status: int | None = None
        self._pidfd = pidfd
        self._gate = gate
        self._reaped = self._may_have_forked = pidfd < 0
        self.claim = Claim.of(identity, marks, (known or {}).items())
        self._daemon = Daemon()
        self._looking = trio.Lock()
        await_status(identity.pid, identity.start_time)
        claims.begin(self.claim)

    @classmethod
    def found(cls, identity: ProcessIdentity, marks: LaunchMarks, known: Mapping[int, int]) -> ProcessTree:
        """The processes of a generation that an earlier agent launched, as far as there still are any.

        Their parent is not us, so that nobody will tell how they end.

        Args:
            identity: by its record, which is of this boot.
            marks: by which its processes are recognized.
            known: what else the record knows to be of it, number to start time.
        """
        return cls(identity, open_pidfd(identity.pid, identity.start_time), marks, known=known)

    @property
    def known(self) -> dict[int, int]:
        """Its processes when last looked at, number to start time."""
        return dict(self.claim.known)

    @property
    def pid(self) -> int:
        """The child's."""
        return self.identity.pid

    @property
    def alive(self) -> bool:
        """Whether the child has not ended."""
        if self._reaped:
            return False
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    def open_gate(self) -> None:
        """Let the app run; without a gate it does already."""
        if self._gate >= 0:
            with suppress(BrokenPipeError):  # the child has ended, which whoever waits for it is told
                os.write(self._gate, b"\n")
        self.close_gate()

    def close_gate(self) -> None:
        """Where the gate was not opened, the app never runs, and the child ends."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def leave(self) -> None:
        """Have nothing to do with it any more; what of it is our child is reaped with the orphans when it ends."""
        self.close_gate()
        self._daemon.follow(None)
        claims.end(self.claim)
        if not self._reaped:
            self._reaped = True
            let_go(self.pid, self.identity.start_time)
            os.close(self._pidfd)

    def signal(self, signum: int) -> None:
        """Send ``signum`` to the child, if that has not ended."""
        if self.alive:
            pidfd_send_signal(self._pidfd, signum)

    async def wait(self) -> int | None:
        """Wait for the child to end; its exit status."""
        if not self._reaped:
            own = os.dup(self._pidfd)  # trio lets one task wait for a descriptor
            try:
                await trio.lowlevel.wait_readable(own)
            finally:
                os.close(own)
            # A zombie's number, which is also that of its session, is not given out again: the time to see
            # whom it leaves behind is before it is reaped.
            await self._look()
            self._reap()
        return self.exit_status

    async def members(self) -> list[int]:
        """The processes that have not ended, the main process first."""
        found = await self._look()
        main = self._main(found)
        return sorted((entry.pid for entry in found.live), key=lambda pid: main is None or pid != main.pid)

    async def main(self) -> int | None:
        """Return the number of the main process, or None if that has ended."""
        found = await self._look()
        main = self._main(found)
        return None if main is None else main.pid

    def glimpse(self, main: int | None) -> object:
        """Return what changes when the main process may be another one than ``main``, or an orphan came to us.

        It costs a few reads, where a search reads all of /proc.
        """
        entry = read_entry(main or 0)
        return read_pidfile(self.claim.pidfile), entry is not None and not entry.ended, children()

    async def foreign(self) -> list[int]:
        """Return what descends from its processes, is another account's, and cannot be signalled therefore."""
        return [entry.pid for entry in (await self._look()).foreign]

    async def ended(self) -> int | None:
        """Wait until the app serves no more; the exit status of its main process.

        The main process is the child; but one that exits with 0, or nobody knows how, may have made a daemon.
        """
        if await self.wait() not in {0, None}:
            return self.exit_status
        patience_seconds = _LOOK_AGAIN_SECONDS
        while (main := self._main(found := await self._look())) is not None:
            with trio.move_on_after(math.inf if main == found.named else patience_seconds):
                await until_ended(main)
            patience_seconds = min(patience_seconds * 2, _LOOK_SELDOM_SECONDS)
        return self._main_status()

    async def end(self, *, signal: int, kill_after_seconds: float, hurry: trio.Event) -> ExitReport:
        """End all of it, and reap what is ours to reap.

        ``signal`` goes to the main process first; when that has ended, or after half the time, to the others;
        after the whole time what is left is killed, wherever it moved itself.

        Args:
            signal: asks a process to end; each of them gets it once.
            kill_after_seconds: the whole time.
            hurry: once this is set, what is left is killed at once.
        """
        self.close_gate()
        with trio.CancelScope(deadline=trio.current_time() + kill_after_seconds) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on, hurry, patience)
                await self._ask(signal, kill_after_seconds / 2)
                nursery.cancel_scope.cancel()
        killed, left = await self._kill()
        self._reap()
        self._daemon.follow(None)
        claims.end(self.claim)
        await trio.to_thread.run_sync(reap_orphans)
        if self.marks.cgroup is not None:
            await trio.to_thread.run_sync(remove_cgroup, self.marks.cgroup)
        why = await trio.to_thread.run_sync(keep_survivors, left, self.claim)
        return ExitReport(self._main_status(), killed, [entry.pid for entry in left], why)

    async def _ask(self, signal: int, head_start_seconds: float) -> None:
        """Ask all of it to end, the main process first; returns when nothing is left.

        What another account's process is, is waited for and never signalled; only our own child is asked, whatever it
        has become, as it may pass that on.
        """
        found = await self._look()
        told = set()
        main = self._main(found) or next((entry for entry in found.foreign if self._is_our_child(entry)), None)
        if main is not None:
            send_signal(main, signal)
            told.add(main.pid)
            with trio.move_on_after(head_start_seconds):
                await until_ended(main)
        while waiting := (*(found := await self._look()).live, *found.foreign):
            for entry in found.live:
                if entry.pid not in told:
                    send_signal(entry, signal, self.claim.covers)
                    told.add(entry.pid)
            with trio.move_on_after(_LOOK_AGAIN_SECONDS):
                await until_ended(waiting[0])

    async def _kill(self) -> tuple[bool, list[ProcessInfo]]:
        """Kill what is left: whether anything was, and what withstood."""
        killed = False
        found = await self._look()
        with trio.move_on_after(_KILL_SECONDS):
            while found.live:
                sent = [send_signal(entry, SIGKILL, self.claim.covers) for entry in found.live]
                if self.marks.cgroup is not None and not found.foreign:
                    kill_cgroup(self.marks.cgroup)
                killed |= any(sent)
                with trio.move_on_after(_LOOK_AGAIN_SECONDS):
                    await until_ended(found.live[0])
                found = await self._look()
        return killed, [*found.live, *found.foreign]

    def _is_our_child(self, entry: ProcessInfo) -> bool:
        return entry.pid == self.pid and entry.parent == os.getpid()

    async def _look(self) -> Members:
        """Find its processes, and remember them."""
        async with self._looking:
            found = await trio.to_thread.run_sync(self._find)
            self.claim.remember((*found.live, *found.ended, *found.foreign))
            return found

    def _find(self) -> Members:
        """In a thread, as it reads all of /proc.

        Nothing is believed only when it is seen twice: a daemon's parent may fork and end between the moments at which
        its directory is listed and read, and whom it left behind is not in that list.
        """
        found = self._find_once()
        return found if found.live else self._find_once()

    def _find_once(self) -> Members:
        return attribute(read_table(), claims.all_claims(self.claim), Sight()).members(self.claim)

    def _main(self, found: Members) -> ProcessInfo | None:
        """The main process; None where it has ended.

        It is whom the pidfile names, else the child.  A child that exits with 0 and leaves others behind has made a
        daemon, and so may have one that had ended before we looked: the oldest of them, as long as no pidfile says
        which.
        """
        self._daemon.look(found, self.pid)
        main = self._daemon.entry or next((entry for entry in found.live if entry.pid == self.pid), None)
        has_forked = self._reaped and (self._may_have_forked or self._main_status() == 0)
        if main is None and found.live and has_forked:
            main = found.live[0]
            self._daemon.follow(main)
        return main

    def _main_status(self) -> int | None:
        """The exit status of the main process, as far as it is known.

        Whom the pidfile names may be a wrapper's child: its status the wrapper knows, and mostly passes on.
        """
        return self.exit_status if self._daemon.status is None else self._daemon.status

    def _reap(self) -> None:
        if not self._reaped and not self.alive:
            self._reaped = True
            self.exit_status = reap(self.pid, self.identity.start_time)
            let_go(self.pid, self.identity.start_time)
            os.close(self._pidfd)


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
