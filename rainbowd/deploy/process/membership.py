"""The launch that each process belongs to; a process belongs to at most one.

These are the kinds of evidence, the strongest first.  No other account can make any of them:

- the process is the child that was launched;
- the secret mark of a launch is in its environment, and it has the account of the launch: also if the daemon of another
  launch has started it;
- it is in the control group of a launch, or in a group below that, if systemd has delegated the agent's group to it;
- it belonged to the launch when its processes were last searched for;
- it descends from a process of the launch, or is in the session of one.  A process group is always within one session
  (setpgid(2)), so groups need no rule of their own;
- it became a child of the agent when its parent ended.  Only the agent's own descendants can become its children,
  so it belongs to the launch whose pidfile names it, or to the only launch that began before it.  If several launches
  did, its launch is unknown, and the last of them to end takes it along.

A mark of no launch counts as no mark: such a process is judged by its origin.  A process of another account never
belongs to a launch.  If it descends from one, it is *foreign*: it is never signalled, but reported if it outlives the
launch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rainbowd.deploy.process.cgroups import read_cgroup
from rainbowd.deploy.process.procfs import read_pidfile
from rainbowd.deploy.process.reaper import registering, reserved_children

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rainbowd.deploy.process.launches import Launch
    from rainbowd.deploy.process.procfs import ProcessInfo, Variables

_INIT = 1


@dataclass(frozen=True, slots=True)
class Members:
    """The processes of a launch at one moment.

    Attributes:
        live: the processes that have not ended, oldest first.
        ended: the zombies.
        named: the process that the pidfile names, live or ended; None if there is none.
        foreign: their descendants of another account.
    """

    live: tuple[ProcessInfo, ...]
    ended: tuple[ProcessInfo, ...]
    named: ProcessInfo | None
    foreign: tuple[ProcessInfo, ...] = ()


class ProcessReader(Protocol):
    """What /proc shows of a process: see ``procfs.ProcReader``."""

    def uid(self, pid: int) -> int | None:
        """Return the real uid of a process, or None if it is gone."""

    def environments(self, pids: Iterable[int]) -> dict[int, Variables]:
        """Return the environments of the processes that have one and show it, by number."""


def find_membership(table: Mapping[int, ProcessInfo], launches: Sequence[Launch], reader: ProcessReader) -> Membership:
    """Find the launch that each process belongs to; for a thread, as it reads much of /proc.

    Args:
        table: all processes, see ``read_table``.
        launches: all launches, oldest first.
        reader: reads accounts and environments.
    """
    found = Membership(table, launches, reader)
    found.take_children()
    found.take_marked()
    found.take_grouped()
    found.take_known()
    found.take_kin()
    if found.take_orphans():
        found.take_kin()
    return found


class Membership:
    """The launches that processes belong to, by the evidence taken so far.

    Attributes:
        owners: the launch that a process belongs to, by its number.
        foreign: the launch that a process of another account descends from, by its number.
    """

    def __init__(self, table: Mapping[int, ProcessInfo], launches: Sequence[Launch], reader: ProcessReader) -> None:
        self.owners: dict[int, Launch] = {}
        self.foreign: dict[int, Launch] = {}
        self._table = table
        self._launches = launches
        self._reader = reader
        self._sessions_of_others = {0, os.getsid(0)}  # 0: of the kernel, and from outside of this PID namespace
        self._agent_pid = os.getpid()

    def take_children(self) -> None:
        """Attribute the children that were launched."""
        for launch in self._launches:
            if launch.child is not None:
                self._take_exact(launch, [launch.child])

    def take_grouped(self) -> None:
        """Attribute the processes in the control group of a launch; those of another account are foreign."""
        for launch in self._launches:
            for pid in () if launch.cgroup is None else read_cgroup(launch.cgroup):
                entry = self._table.get(pid)
                if entry is not None and pid not in self.owners:
                    self._take(entry, launch, or_foreign=True)

    def take_marked(self) -> None:
        """Attribute the processes with a mark; the environments of other accounts are never read."""
        oldest = min((launch.born for launch in self._launches), default=0)
        readable = {
            entry.pid: uid
            for entry in self._left()
            if entry.start_time >= oldest
            and entry.session
            and not entry.ended
            and (uid := self._reader.uid(entry.pid)) is not None
            and any(uid in launch.uids for launch in self._launches)
        }
        for pid, variables in self._reader.environments(readable).items():
            for launch in self._launches:
                if launch.is_named_by(readable[pid], variables):
                    self._take(self._table[pid], launch)

    def take_known(self) -> None:
        """Attribute the processes that the last search attributed."""
        for launch in self._launches:
            self._take_exact(launch, launch.known.items())

    def take_kin(self) -> None:
        """Attribute the descendants of attributed processes, and the processes in their sessions."""
        while True:
            sessions = self._sessions()
            taken = [self._take_relative(entry, sessions) for entry in self._left()]
            if not any(taken):
                return

    def take_orphans(self) -> bool:
        """Attribute the orphans that became children of the agent; return whether there are any.

        This may wait for a child that is being started, which has no mark yet.  Process 1 of a PID namespace gets the
        orphans of other programs too, so only a pidfile counts there.
        """
        orphans = [entry for entry in self._left() if self._has_come_to_us(entry)]
        if not orphans:
            return False
        with registering:
            children = reserved_children()
        named = {
            pid: launch for launch in reversed(self._launches) if (pid := read_pidfile(launch.pidfile)) is not None
        }
        for entry in orphans:
            if (entry.pid, entry.start_time) in children:
                continue
            begun = [launch for launch in self._launches if launch.born <= entry.start_time]
            candidates = [launch for launch in begun if self._can_be_of(entry, launch)] or begun
            if entry.pid in named:
                self._take(entry, named[entry.pid])
            elif len(candidates) == 1 and self._agent_pid != _INIT:
                self._take(entry, candidates[0], or_foreign=True)
        return True

    def members(self, launch: Launch) -> Members:
        """Return the processes of one launch."""
        members = [self._table[pid] for pid, owner in self.owners.items() if owner is launch]
        members.sort(key=lambda entry: (entry.start_time, entry.pid))
        foreign = (self._table[pid] for pid, origin in self.foreign.items() if origin is launch)
        named = read_pidfile(launch.pidfile)
        return Members(
            live=tuple(entry for entry in members if not entry.ended),
            ended=tuple(entry for entry in members if entry.ended),
            named=next((entry for entry in members if entry.pid == named), None),
            foreign=tuple(entry for entry in foreign if not entry.ended),
        )

    # --- one process ----------------------------------------------------------------------------------------------

    def _left(self) -> list[ProcessInfo]:
        """Return the processes that are not attributed yet."""
        return [
            entry
            for pid, entry in self._table.items()
            if pid not in self.owners and pid not in self.foreign and pid != self._agent_pid
        ]

    def _take_exact(self, launch: Launch, processes: Iterable[tuple[int, int]]) -> None:
        for pid, start_time in processes:
            entry = self._table.get(pid)
            if entry is not None and entry.start_time == start_time and pid not in self.owners:
                self._take(entry, launch, or_foreign=True)

    def _take(self, entry: ProcessInfo, launch: Launch, *, or_foreign: bool = False) -> bool:
        """Attribute a process, unless it is older than the launch or of another account; return whether it is."""
        uid = self._reader.uid(entry.pid)
        if uid is None or entry.start_time < launch.born or entry.pid == self._agent_pid:
            return False
        if launch.covers(uid):
            self.owners.setdefault(entry.pid, launch)
            return True
        if or_foreign:
            self.foreign.setdefault(entry.pid, launch)
        return or_foreign

    def _take_relative(self, entry: ProcessInfo, sessions: Mapping[int, Launch]) -> bool:
        """Attribute a process by its parent, else by its session."""
        parents = self.owners.get(entry.parent) or self.foreign.get(entry.parent)
        if parents is not None and self._take(entry, parents, or_foreign=True):
            return True
        in_session = sessions.get(entry.session)
        return in_session is not None and self._take(entry, in_session)

    def _sessions(self) -> dict[int, Launch]:
        """Return the launch of each session.

        A session belongs to the launch of its leader; if the leader has ended, to that of its oldest process.  A leader
        that cannot belong to the launch has let a process of the launch into a session of its own.
        """
        sessions: dict[int, Launch] = {}
        members = sorted(
            (self._table[pid] for pid in self.owners), key=lambda one: (one.pid != one.session, one.start_time)
        )
        for entry in members:
            if entry.session not in sessions and entry.session not in self._sessions_of_others:
                launch = self.owners[entry.pid]
                leader = self._table.get(entry.session)
                if leader is None or leader.pid in self.owners or self._can_be_of(leader, launch):
                    sessions[entry.session] = launch
        return sessions

    def _can_be_of(self, entry: ProcessInfo, launch: Launch) -> bool:
        uid = self._reader.uid(entry.pid)
        return uid is not None and launch.covers(uid) and entry.start_time >= launch.born

    def _has_come_to_us(self, entry: ProcessInfo) -> bool:
        """Return whether it is a child of the agent, outside of the agent's own session."""
        return entry.parent == self._agent_pid and not entry.ended and entry.session != os.getsid(0)
