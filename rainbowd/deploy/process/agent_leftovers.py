"""Processes that a killed agent has left and that no record names, such as those of a hook."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process.ending import KILL_SECONDS, REFRESH_SECONDS, patience
from rainbowd.deploy.process.launches import Launch, all_launches
from rainbowd.deploy.process.membership import find_membership
from rainbowd.deploy.process.procfs import ProcReader, ancestors, read_table, send_signal, until_ended
from rainbowd.deploy.process.reaper import reap_orphans
from rainbowd.deploy.process.survivors import keep_survivors

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from rainbowd.deploy.process.procfs import ProcessInfo


@dataclass
class Leftovers:
    """Processes that an earlier agent has left, with the processes that were later found to descend from them.

    Attributes:
        known: the processes, number to start time.
        uids: the accounts that they belong to.
    """

    known: dict[int, int]
    uids: frozenset[int] = field(default_factory=lambda: frozenset({os.geteuid()}))


def find_leftovers(state_dir: Path, spared: Sequence[Launch], uids: Collection[int]) -> Leftovers:
    """Find the processes that an earlier agent launched and that belong to no launch; for a thread, as it reads /proc.

    Call it before the first deploy: a hook that runs now belongs to a deploy of the earlier agent.  The descendants and
    the ancestors of this agent are not leftovers.

    Args:
        state_dir: absolute path of the state directory, which is in the environment of the processes.
        spared: the launches of the generations that are adopted.
        uids: the accounts of the processes; the environments of others are not read.
    """
    table, reader = read_table(), ProcReader()
    found = find_membership(table, all_launches(*spared), reader)
    accounts = frozenset(uids).union(*(launch.uids for launch in spared))
    agent = os.getpid()
    above = {agent, *ancestors(agent, table)}  # an app may start the agent that deploys it
    candidates = [
        entry.pid
        for entry in table.values()
        if entry.session
        and not entry.ended
        and entry.pid not in found.owners
        and entry.pid not in above
        and reader.uid(entry.pid) in accounts
        and agent not in ancestors(entry.pid, table)
    ]
    variable = b"RAINBOWD_STATE_DIR=" + os.fsencode(state_dir)
    marked = [pid for pid, variables in reader.environments(candidates).items() if variable in variables]
    return Leftovers({pid: table[pid].start_time for pid in marked}, accounts)


async def end_leftovers(
    leftovers: Leftovers, *, patience_seconds: float, stop_now: trio.Event
) -> tuple[list[int], str]:
    """End leftovers and their descendants: SIGTERM first, then SIGKILL.

    Args:
        leftovers: the processes; updated.
        patience_seconds: time until they are killed.
        stop_now: once this is set, or if this function is cancelled, they are killed at once.

    Returns:
        The numbers of the processes that could not be ended, and why, as text.
    """
    try:
        async with patience(patience_seconds, stop_now):
            await _until_none_is_left(leftovers, SIGTERM, again=False)
    finally:
        with trio.move_on_after(KILL_SECONDS, shield=True):
            await _until_none_is_left(leftovers, SIGKILL, again=True)
            await trio.to_thread.run_sync(reap_orphans)
    left = await trio.to_thread.run_sync(_alive, leftovers)
    return [entry.pid for entry in left], await trio.to_thread.run_sync(keep_survivors, left, _as_launch(leftovers))


async def _until_none_is_left(leftovers: Leftovers, signum: int, *, again: bool) -> None:
    signalled: set[int] = set()
    while alive := await trio.to_thread.run_sync(_alive, leftovers):
        for entry in alive:
            if again or entry.pid not in signalled:
                send_signal(entry, signum, _as_launch(leftovers).covers)
                signalled.add(entry.pid)
        with trio.move_on_after(REFRESH_SECONDS):
            await until_ended(alive[0])


def _alive(leftovers: Leftovers) -> list[ProcessInfo]:
    """Return the leftovers and their descendants that have not ended."""
    if not leftovers.known:
        return []
    launch = _as_launch(leftovers)
    found = find_membership(read_table(), all_launches(launch), ProcReader()).members(launch)
    leftovers.known = {entry.pid: entry.start_time for entry in (*found.live, *found.ended)}
    return list(found.live)


def _as_launch(leftovers: Leftovers) -> Launch:
    """Return a launch whose only evidence is that its processes were found."""
    return Launch(leftovers.uids, min(leftovers.known.values(), default=0), known=leftovers.known)
