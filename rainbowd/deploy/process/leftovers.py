"""Processes that an agent which was killed has left, and that no record names: found by their mark, and ended."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process.attribution import attribute
from rainbowd.deploy.process.claims import Claim, all_claims
from rainbowd.deploy.process.procfs import Sight, ancestors, read_table, send_signal, until_ended
from rainbowd.deploy.process.reaper import reap_orphans
from rainbowd.deploy.process.survivors import keep_survivors

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from rainbowd.deploy.process.procfs import ProcessInfo

_LOOK_AGAIN_SECONDS = 0.5
_KILL_SECONDS = 5.0


@dataclass
class Leftovers:
    """Some, number to start time: when they were found, and what was then seen to belong to them.

    Attributes:
        known: the processes.
        uids: the accounts that they belong to.
    """

    known: dict[int, int]
    uids: frozenset[int] = field(default_factory=lambda: frozenset({os.geteuid()}))


def find_strays(state_dir: Path, spared: Sequence[Claim], uids: Collection[int]) -> Leftovers:
    """Find what an earlier agent launched and no launch has a claim to; reads all of /proc, so call it in a thread.

    A hook is a stray whosesoever it is, since the deploy that it belongs to is over: so call this before any deploy.
    What this agent has launched is none, nor is what this agent itself descends from.

    Args:
        state_dir: absolute; what was launched for it has it in its environment.
        spared: the claims of generations that are known.
        uids: the accounts that processes may have been launched as; those of others are not even read.
    """
    table, eyes = read_table(), Sight()
    found = attribute(table, all_claims(*spared), eyes)
    accounts = frozenset(uids).union(*(claim.uids for claim in spared))
    us = os.getpid()
    above = {us, *ancestors(us, table)}  # it may be an app that starts its own agent
    candidates = [
        entry.pid
        for entry in table.values()
        if entry.session
        and not entry.ended
        and entry.pid not in found.owners
        and entry.pid not in above
        and eyes.uid(entry.pid) in accounts
        and us not in ancestors(entry.pid, table)
    ]
    variable = b"RAINBOWD_STATE_DIR=" + os.fsencode(state_dir)
    marked = [pid for pid, variables in eyes.environments(candidates).items() if variable in variables]
    return Leftovers({pid: table[pid].start_time for pid in marked}, accounts)


async def end_strays(strays: Leftovers, *, patience_seconds: float, hurry: trio.Event) -> tuple[list[int], str]:
    """End them and what descends from them: ask, and kill what has not ended in time.

    Args:
        strays: as they were found.
        patience_seconds: before they are killed.
        hurry: once this is set, they are killed at once; so they are where this is cancelled.

    Returns:
        Those that could not be ended, and why in words.
    """
    try:
        with trio.move_on_after(patience_seconds) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on, hurry, patience)
                await _until_none_is_left(strays, SIGTERM, again=False)
                nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(_KILL_SECONDS, shield=True):
            await _until_none_is_left(strays, SIGKILL, again=True)
            await trio.to_thread.run_sync(reap_orphans)
    left = await trio.to_thread.run_sync(_alive, strays)
    return [entry.pid for entry in left], await trio.to_thread.run_sync(keep_survivors, left, _claim(strays))


async def _until_none_is_left(strays: Leftovers, signum: int, *, again: bool) -> None:
    told: set[int] = set()
    while alive := await trio.to_thread.run_sync(_alive, strays):
        for entry in alive:
            if again or entry.pid not in told:
                send_signal(entry, signum, _claim(strays).covers)
                told.add(entry.pid)
        with trio.move_on_after(_LOOK_AGAIN_SECONDS):
            await until_ended(alive[0])


def _alive(strays: Leftovers) -> list[ProcessInfo]:
    """Those of them, and of what they started since, that have not ended."""
    if not strays.known:
        return []
    claim = _claim(strays)
    found = attribute(read_table(), all_claims(claim), Sight()).members(claim)
    strays.known = {entry.pid: entry.start_time for entry in (*found.live, *found.ended)}
    return list(found.live)


def _claim(strays: Leftovers) -> Claim:
    """What strays are known by: nothing but that they were found."""
    return Claim(strays.uids, min(strays.known.values(), default=0), known=strays.known)


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
