"""Launches of an app or a hook, and the evidence that each of them has of its processes.

A launch is registered before its first process runs, and unregistered when none of its processes is left.
``membership`` decides between all launches, so that a process belongs to one launch at most.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainbowd.config.account import ROOT
from rainbowd.deploy.process.procfs import HOOK, MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rainbowd.deploy.process.process_identity import ProcessIdentity
    from rainbowd.deploy.process.procfs import Variables

_HOOK_VARIABLE = os.fsencode(f"{HOOK}=")


@dataclass(frozen=True)
class LaunchMarks:
    """The marks by which this agent and a later one recognize the processes of a launch.

    Attributes:
        uid: of the account that it was started as.
        secret: random, in the environment of its processes; empty if an earlier version of rainbowd launched it.
        cgroup: the directory of its control group; None if it has none.
    """

    uid: int
    secret: str = ""
    cgroup: Path | None = None

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> LaunchMarks | None:
        """Return the marks in a JSON object; None if an earlier version wrote it, without any.

        Raises:
            ValueError, TypeError: a field has the wrong type.
        """
        if fields.get("uid") is None:
            return None
        cgroup = fields.get("cgroup")
        return cls(int(fields["uid"]), str(fields.get("mark", "")), None if cgroup is None else Path(cgroup))

    def to_fields(self) -> dict[str, object]:
        """Return them as fields of a JSON object; the secret is for a file that nobody else may read."""
        group = {} if self.cgroup is None else {"cgroup": str(self.cgroup)}
        return {"uid": self.uid, "mark": self.secret, **group}


@dataclass(eq=False)
class Launch:
    """One launch, with the evidence by which its processes are recognized.

    Attributes:
        uids: the accounts whose processes can be its own.
        born: start time of its first process, in clock ticks since boot; none of its processes is older.
        environment: the variables that its processes have and those of no other launch; empty if there are none.
        has_secret: the environment includes a secret, so that no process has it by chance.
        generation: the id of the generation; None for a hook and for leftovers.
        pidfile: the file in which a daemon can write its number.
        cgroup: the directory of its control group; None if it has none.
        known: its processes when they were last searched for, number to start time; replaced and never changed, because
            a search in another thread keeps the dictionary that it started with.
        child: number and start time of its first process; None if it has none.
    """

    uids: frozenset[int]
    born: int
    environment: Variables = frozenset()
    has_secret: bool = True
    generation: int | None = None
    pidfile: Path = Path(os.devnull)
    cgroup: Path | None = None
    known: dict[int, int] = field(default_factory=dict)
    child: tuple[int, int] | None = None

    @classmethod
    def of(cls, identity: ProcessIdentity, marks: LaunchMarks, known: Iterable[tuple[int, int]] = ()) -> Launch:
        """Return the launch whose first process is ``identity``.

        Args:
            identity: the identity of its first process.
            marks: by which its processes are recognized.
            known: processes that are known to be its own, as number and start time.
        """
        if marks.secret:
            variables = [f"{MARK}={marks.secret}"]
        else:
            variables = [
                f"RAINBOWD_STATE_DIR={identity.state_dir}",
                f"RAINBOWD_GENERATION={identity.generation}",
            ]
        child = identity.pid, identity.start_time
        return cls(
            frozenset({marks.uid}),
            identity.start_time,
            frozenset(map(os.fsencode, variables)),
            has_secret=bool(marks.secret),
            generation=None if identity.pidfile == os.devnull else identity.generation,  # a hook has no pidfile
            pidfile=Path(identity.pidfile),
            cgroup=marks.cgroup,
            known=dict([*known, child]),
            child=child,
        )

    def covers(self, uid: int) -> bool:
        """Return whether a process of this account can be its own: a process of root can become any account."""
        return uid in self.uids or ROOT in self.uids

    def is_named_by(self, uid: int, variables: Variables) -> bool:
        """Return whether a process of this account with these variables has its mark.

        Only the account's own environment counts as evidence, since anyone can choose the variables of a process.
        """
        if uid not in self.uids or not self.environment or not self.environment <= variables:
            return False
        return self.has_secret or not any(variable.startswith(_HOOK_VARIABLE) for variable in variables)


_launches: list[Launch] = []
"""All launches that may have processes now, oldest first."""


def register(launch: Launch) -> None:
    """Add a launch, whose processes are then searched for."""
    _launches.append(launch)


def unregister(launch: Launch) -> None:
    """Remove a launch that has no processes left; do nothing if it was removed before."""
    if launch in _launches:
        _launches.remove(launch)


def all_launches(*more: Launch) -> list[Launch]:
    """Return all registered launches, oldest first, and then those of ``more`` that are not registered."""
    return [*_launches, *(launch for launch in more if launch not in _launches)]
