"""Processes that an agent which was killed has left, and that no record names: found by their mark, and ended."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process.members import HOOK, environment, family, read_entry, read_table, tell, until_ended
from rainbowd.deploy.process.reaping import reap_orphans

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from rainbowd.deploy.process.members import Entry

_LOOK_AGAIN_SECONDS = 0.5
_KILL_SECONDS = 5.0


@dataclass
class Strays:
    """Some, number to start time: when they were found, and what was then seen to belong to them."""

    known: dict[int, int]


def find_strays(state_dir: Path, spared: Collection[int], last: int) -> Strays:
    """What has the mark of ``state_dir`` and is none of ours; reads all of /proc, so call it in a thread.

    A hook is a stray whosesoever it is, since the deploy that it belongs to is over: so call this before any deploy.

    Args:
        state_dir: absolute.
        spared: the numbers of generations that are known.
        last: the highest number of before; those above are being launched while we look.
    """
    table = read_table()
    own = _line_of(os.getpid(), table)
    return Strays(
        {
            entry.pid: entry.start_time
            for entry in table.values()
            if not entry.ended and entry.pid not in own and _is_stray(entry.pid, state_dir, spared, last)
        }
    )


async def end_strays(strays: Strays, *, patience_seconds: float, hurry: trio.Event) -> list[int]:
    """End them and what descends from them: ask, and kill what has not ended in time.

    Args:
        strays: as they were found.
        patience_seconds: before they are killed.
        hurry: once this is set, they are killed at once; so they are where this is cancelled.

    Returns:
        Those that could not be ended.
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
    return [entry.pid for entry in left]


async def _until_none_is_left(strays: Strays, signum: int, *, again: bool) -> None:
    told: set[int] = set()
    while alive := await trio.to_thread.run_sync(_alive, strays):
        for entry in alive:
            if again or entry.pid not in told:
                tell(entry, signum)
                told.add(entry.pid)
        with trio.move_on_after(_LOOK_AGAIN_SECONDS):
            await until_ended(alive[0])


def _alive(strays: Strays) -> list[Entry]:
    """Those of them, and of what they started since, that have not ended."""
    if not strays.known:
        return []
    found = family(read_table(), strays.known, min(strays.known.values()), lambda _pid: False)
    strays.known = {entry.pid: entry.start_time for entry in found.values()}
    return [entry for entry in found.values() if not entry.ended]


def _is_stray(pid: int, state_dir: Path, spared: Collection[int], last: int) -> bool:
    variables = environment(pid).split(b"\0")
    if b"RAINBOWD_STATE_DIR=" + os.fsencode(state_dir) not in variables:
        return False
    is_of_hook = any(variable.startswith(HOOK.encode() + b"=") for variable in variables)
    numbers = (re.fullmatch(rb"RAINBOWD_GENERATION=([0-9]{1,18})", variable) for variable in variables)
    return is_of_hook or not any(found and (int(found[1]) in spared or int(found[1]) > last) for found in numbers)


def _line_of(pid: int, table: dict[int, Entry]) -> set[int]:
    """``pid`` and all that it descends from, which may be an app that starts its own agent."""
    line: set[int] = set()
    entry = table.get(pid) or read_entry(pid)
    while entry is not None and entry.pid not in line:
        line.add(entry.pid)
        entry = table.get(entry.parent)
    return line


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
