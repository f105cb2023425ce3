"""Which launch each process belongs to; every process belongs to one at most.

The evidence, strongest first, is what no other account can make:

- it is the child that was launched;
- it is in the control group of a launch, or in a group below that, if systemd has delegated the agent's group to it;
- its environment has the secret mark of a launch, and its account is that of the launch;
- it belonged to the launch when its processes were last searched for;
- it descends from a process of the launch, or lives in a session of one.  A process group never reaches beyond its
  session (setpgid(2)), so the session stands for the group;
- it came to us when its parent ended.  Only what we started has descendants that come to us, so it belongs to the
  launch whose pidfile names it, or that began before it did.  If several did, nobody can tell, and it is left to the
  last of them to end.

A mark that no launch has, or none at all, counts for nothing: such a process is judged by where it came from.  A
process of another account is never a launch's own.  If it descends from one, it is *foreign*: it is never signalled,
but an app that leaves it behind is reported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rainbowd.deploy.process.cgroups import read_cgroup
from rainbowd.deploy.process.procfs import read_pidfile
from rainbowd.deploy.process.reaper import awaited, registering

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rainbowd.deploy.process.claims import Claim
    from rainbowd.deploy.process.procfs import ProcessInfo, Variables

_INIT = 1


@dataclass(frozen=True, slots=True)
class Members:
    """A launch's processes at one moment.

    Attributes:
        live: oldest first.
        ended: zombies.
        named: the one that the pidfile names, live or not.
        foreign: what descends from them and is another account's.
    """

    live: tuple[ProcessInfo, ...]
    ended: tuple[ProcessInfo, ...]
    named: ProcessInfo | None
    foreign: tuple[ProcessInfo, ...] = ()


class Eyes(Protocol):
    """What is to be seen of a process: ``members.Sight``."""

    def uid(self, pid: int) -> int | None:
        """Return the real uid of a process, or None if it is gone."""

    def environments(self, pids: Iterable[int]) -> dict[int, Variables]:
        """Return what the processes were started with; of those that show nothing, nothing."""


def attribute(table: Mapping[int, ProcessInfo], claims: Sequence[Claim], eyes: Eyes) -> Attribution:
    """Find out which launch each process belongs to; reads much of /proc, so call it in a thread.

    Args:
        table: every process, see ``read_table``.
        claims: of all launches, oldest first.
        eyes: for the rest of /proc.
    """
    found = Attribution(table, claims, eyes)
    found.take_children()
    found.take_grouped()
    found.take_marked()
    found.take_known()
    found.take_kin()
    if found.take_orphans():
        found.take_kin()
    return found


class Attribution:
    """Which launch each process belongs to.

    Attributes:
        owners: number to the launch that it belongs to.
        foreign: number to the launch that it descends from, if its account is another.
    """

    def __init__(self, table: Mapping[int, ProcessInfo], claims: Sequence[Claim], eyes: Eyes) -> None:
        self.owners: dict[int, Claim] = {}
        self.foreign: dict[int, Claim] = {}
        self._table = table
        self._claims = claims
        self._eyes = eyes
        self._sessions_of_others = {0, os.getsid(0)}  # 0: the kernel's, and those from outside of our PID namespace
        self._us = os.getpid()

    def take_children(self) -> None:
        """Attribute what was launched itself."""
        for claim in self._claims:
            if claim.child is not None:
                self._take_exact(claim, [claim.child])

    def take_grouped(self) -> None:
        """Attribute the processes in the control group of a launch; those of another account are foreign."""
        for claim in self._claims:
            for pid in () if claim.cgroup is None else read_cgroup(claim.cgroup):
                entry = self._table.get(pid)
                if entry is not None and pid not in self.owners:
                    self._take(entry, claim, or_foreign=True)

    def take_marked(self) -> None:
        """Attribute by the mark; the environment of an account that launched nothing is never read."""
        oldest = min((claim.born for claim in self._claims), default=0)
        readable = {
            entry.pid: uid
            for entry in self._left()
            if entry.start_time >= oldest
            and entry.session
            and not entry.ended
            and (uid := self._eyes.uid(entry.pid)) is not None
            and any(uid in claim.uids for claim in self._claims)
        }
        for pid, variables in self._eyes.environments(readable).items():
            for claim in self._claims:
                if claim.is_named_by(readable[pid], variables):
                    self._take(self._table[pid], claim)

    def take_known(self) -> None:
        """Attribute what was attributed before."""
        for claim in self._claims:
            self._take_exact(claim, claim.known.items())

    def take_kin(self) -> None:
        """Attribute what descends from a process that is attributed, and what lives in its session."""
        while True:
            sessions = self._sessions()
            taken = [self._take_relative(entry, sessions) for entry in self._left()]
            if not any(taken):
                return

    def take_orphans(self) -> bool:
        """Attribute what came to us when its parent ended; whether there was any.

        May wait for a child that is being started, which in the middle of execve(2) shows no mark either.  The init
        of a PID namespace gets the orphans of others too, so that there only a pidfile counts.
        """
        orphans = [entry for entry in self._left() if self._has_come_to_us(entry)]
        if not orphans:
            return False
        with registering:
            children = awaited()
        named = {pid: claim for claim in reversed(self._claims) if (pid := read_pidfile(claim.pidfile)) is not None}
        for entry in orphans:
            if (entry.pid, entry.start_time) in children:
                continue
            begun = [claim for claim in self._claims if claim.born <= entry.start_time]
            candidates = [claim for claim in begun if self._can_be_of(entry, claim)] or begun
            if entry.pid in named:
                self._take(entry, named[entry.pid])
            elif len(candidates) == 1 and self._us != _INIT:
                self._take(entry, candidates[0], or_foreign=True)
        return True

    def members(self, claim: Claim) -> Members:
        """Return the processes of one launch."""
        ours = [self._table[pid] for pid, owner in self.owners.items() if owner is claim]
        ours.sort(key=lambda entry: (entry.start_time, entry.pid))
        foreign = (self._table[pid] for pid, origin in self.foreign.items() if origin is claim)
        named = read_pidfile(claim.pidfile)
        return Members(
            live=tuple(entry for entry in ours if not entry.ended),
            ended=tuple(entry for entry in ours if entry.ended),
            named=next((entry for entry in ours if entry.pid == named), None),
            foreign=tuple(entry for entry in foreign if not entry.ended),
        )

    # --- one process ----------------------------------------------------------------------------------------------

    def _left(self) -> list[ProcessInfo]:
        """Every process that is not attributed yet."""
        return [
            entry
            for pid, entry in self._table.items()
            if pid not in self.owners and pid not in self.foreign and pid != self._us
        ]

    def _take_exact(self, claim: Claim, processes: Iterable[tuple[int, int]]) -> None:
        for pid, start_time in processes:
            entry = self._table.get(pid)
            if entry is not None and entry.start_time == start_time and pid not in self.owners:
                self._take(entry, claim, or_foreign=True)

    def _take(self, entry: ProcessInfo, claim: Claim, *, or_foreign: bool = False) -> bool:
        """Attribute a process, unless it is older than the launch or of another account; whether it is attributed."""
        uid = self._eyes.uid(entry.pid)
        if uid is None or entry.start_time < claim.born or entry.pid == self._us:
            return False
        if claim.covers(uid):
            self.owners.setdefault(entry.pid, claim)
            return True
        if or_foreign:
            self.foreign.setdefault(entry.pid, claim)
        return or_foreign

    def _take_relative(self, entry: ProcessInfo, sessions: Mapping[int, Claim]) -> bool:
        """Attribute a process by its parent, else by its session."""
        parents = self.owners.get(entry.parent) or self.foreign.get(entry.parent)
        if parents is not None and self._take(entry, parents, or_foreign=True):
            return True
        in_session = sessions.get(entry.session)
        return in_session is not None and self._take(entry, in_session)

    def _sessions(self) -> dict[int, Claim]:
        """The sessions of launches.

        A session belongs to the launch of its leader; without one, of the oldest in it.  A leader that is attributed to
        no launch, and could be of none, has let a process of a launch into a session of its own.
        """
        sessions: dict[int, Claim] = {}
        members = sorted(
            (self._table[pid] for pid in self.owners), key=lambda one: (one.pid != one.session, one.start_time)
        )
        for entry in members:
            if entry.session not in sessions and entry.session not in self._sessions_of_others:
                claim = self.owners[entry.pid]
                leader = self._table.get(entry.session)
                if leader is None or leader.pid in self.owners or self._can_be_of(leader, claim):
                    sessions[entry.session] = claim
        return sessions

    def _can_be_of(self, entry: ProcessInfo, claim: Claim) -> bool:
        uid = self._eyes.uid(entry.pid)
        return uid is not None and claim.covers(uid) and entry.start_time >= claim.born

    def _has_come_to_us(self, entry: ProcessInfo) -> bool:
        """Whether it is our child, and none that we started in our own session."""
        return entry.parent == self._us and not entry.ended and entry.session != os.getsid(0)
