"""Ending the processes of a launch: a signal first, and SIGKILL for those that are left when the time is over."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from signal import SIGKILL
from typing import TYPE_CHECKING, Protocol

import trio

from rainbowd.deploy.cancellation import cancel_on
from rainbowd.deploy.process.procfs import is_running, send_signal, until_ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rainbowd.deploy.process.launches import Launch
    from rainbowd.deploy.process.membership import Members
    from rainbowd.deploy.process.procfs import ProcessInfo

REFRESH_SECONDS = 0.5
"""How often processes are searched for again, as they may have forked meanwhile."""

KILL_SECONDS = 5.0
"""How long the kernel may take to end the processes that were killed."""


class Processes(Protocol):
    """The processes of a launch, which ``ProcessTree`` finds and follows.

    Attributes:
        pid: the number of the launched process.
        launch: the evidence by which they are found.
    """

    pid: int
    launch: Launch

    async def refresh(self) -> Members:
        """Search for them, and return the result."""

    def find_main(self, found: Members) -> ProcessInfo | None:
        """Return the main process, or None if it has ended."""


async def end_processes(
    tree: Processes, signum: int, *, patience_seconds: float, stop_now: trio.Event
) -> tuple[bool, list[ProcessInfo]]:
    """End all processes of a launch.

    Args:
        tree: the processes.
        signum: the signal that asks a process to end; the main process gets it first, the others when that has ended,
            or after half the time.
        patience_seconds: time until the processes that are left are killed.
        stop_now: once this is set, they are killed at once.

    Returns:
        Whether any process was killed, and the processes that could not be ended.
    """
    async with patience(patience_seconds, stop_now):
        await _request_end(tree, signum, patience_seconds / 2)
    return await _kill(tree)


@asynccontextmanager
async def patience(seconds: float, stop_now: trio.Event) -> AsyncIterator[None]:
    """Cancel the body of the context after ``seconds``, or as soon as ``stop_now`` is set."""
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on, stop_now, nursery.cancel_scope)
            yield
            nursery.cancel_scope.cancel()


async def _request_end(tree: Processes, signum: int, head_start_seconds: float) -> None:
    """Send each process the signal, the main process first; return when none is left.

    A process of another account is waited for and never signalled.  The exception is the agent's own child, whatever
    its account is now, because it may pass the signal on.
    """
    found = await tree.refresh()
    signalled = set()
    main = tree.find_main(found) or next((entry for entry in found.foreign if _is_our_child(tree, entry)), None)
    if main is not None:
        send_signal(main, signum)
        signalled.add(main.pid)
        with trio.move_on_after(head_start_seconds):
            await until_ended(main)
    while waiting := (*(found := await tree.refresh()).live, *found.foreign):
        for entry in found.live:
            if entry.pid not in signalled:
                send_signal(entry, signum, tree.launch.covers)
                signalled.add(entry.pid)
        with trio.move_on_after(REFRESH_SECONDS):
            await until_ended(waiting[0])


async def _kill(tree: Processes) -> tuple[bool, list[ProcessInfo]]:
    """Kill the processes that are left; return whether there were any, and those that remain."""
    killed = False
    found = await tree.refresh()
    with trio.move_on_after(KILL_SECONDS):
        while found.live:
            sent = [send_signal(entry, SIGKILL, tree.launch.covers) for entry in found.live]
            killed |= any(sent)
            with trio.move_on_after(REFRESH_SECONDS):
                await until_ended(found.live[0])
            found = await tree.refresh()
    # On a busy machine, the search can take longer than the end of the processes that it found.
    return killed, [entry for entry in (*found.live, *found.foreign) if is_running(entry.pid, entry.start_time)]


def _is_our_child(tree: Processes, entry: ProcessInfo) -> bool:
    return entry.pid == tree.pid and entry.parent == os.getpid()
