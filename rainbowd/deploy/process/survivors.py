"""Processes that could not be ended: their names, their accounts, and why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rainbowd.config.account import ROOT
from rainbowd.deploy.process.procfs import is_running, read_command, read_uid
from rainbowd.errors import DeployFailed
from rainbowd.permissions import user_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rainbowd.deploy.process.launches import Launch
    from rainbowd.deploy.process.procfs import ProcessInfo

_COMMAND_CHARACTERS = 60
_MOST_FOREIGN = 10

_left: dict[tuple[int, int], str] = {}
"""The names of processes that could not be ended, by number and start time."""
_foreign: set[tuple[int, int]] = set()
"""Those of them that belong to another account."""


def survivors() -> list[str]:
    """Return the names of the processes that could not be ended and still exist."""
    for pid, start_time in list(_left):
        if not is_running(pid, start_time):
            del _left[pid, start_time]
            _foreign.discard((pid, start_time))
    return list(_left.values())


def check_foreign() -> None:
    """Check that launches have not left too many processes of another account, which only a person can end.

    Raises:
        DeployFailed: they have; another launch would leave one more.
    """
    survivors()
    if len(_foreign) >= _MOST_FOREIGN:
        pids = " ".join(str(pid) for pid, _ in sorted(_foreign))
        raise DeployFailed(
            f"{len(_foreign)} processes that earlier launches left could not be ended: {why_foreign()}; "
            f"then end them: kill {pids}"
        )


def keep_survivors(entries: Sequence[ProcessInfo], launch: Launch) -> str:
    """Store the processes that could not be ended, for ``survivors``.

    Args:
        entries: the processes.
        launch: the launch that they belong to or descend from.

    Returns:
        Their names, and why they could not be ended, as text; empty if there are none.
    """
    _left.update({(entry.pid, entry.start_time): name_process(entry.pid) for entry in entries})
    foreign = [entry for entry in entries if not _is_covered(entry, launch)]
    hanging = [entry for entry in entries if entry not in foreign]
    _foreign.update((entry.pid, entry.start_time) for entry in foreign)
    reasons = []
    if foreign:
        reasons.append(f"{_list(foreign)}: {why_foreign()}")
    if hanging:
        reasons.append(f"{_list(hanging)}: still there after SIGKILL, so it hangs in the kernel")
    return "; ".join(reasons)


def why_foreign() -> str:
    """Return why the agent does not signal a process of another account, and what to do."""
    if os.geteuid() == ROOT:
        return 'another account\'s, which rainbowd does not signal: set "user" instead of sudo or su in the app'
    name = user_name(os.geteuid())
    return f'rainbowd runs as {name} and may not signal it: run rainbowd as root with "user", not sudo in "run"'


def name_process(pid: int) -> str:
    """Return the number, the command and the user of a process, as text."""
    command, uid = read_command(pid), read_uid(pid)
    shown = command if len(command) <= _COMMAND_CHARACTERS else f"{command[: _COMMAND_CHARACTERS - 1]}…"
    return f"pid {pid}" + (f", `{shown}`" if shown else "") + (f", of user {user_name(uid)}" if uid is not None else "")


def _is_covered(entry: ProcessInfo, launch: Launch) -> bool:
    uid = read_uid(entry.pid)
    return uid is None or launch.covers(uid)


def _list(entries: Sequence[ProcessInfo]) -> str:
    return "; ".join(name_process(entry.pid) for entry in entries)
