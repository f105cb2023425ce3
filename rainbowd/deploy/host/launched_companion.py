"""One companion process: its processes, its output, and its record for a later agent."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.process.ending import patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.deploy.companion_record import CompanionRecord
    from rainbowd.deploy.host.output import Output
    from rainbowd.deploy.interfaces import LaunchPlan
    from rainbowd.deploy.process import ExitReport, ProcessTree

_FOLLOW_SECONDS = 1.0


class LaunchedCompanion:
    """The processes of one companion, with their output and the record for a later agent.

    Args:
        process: its processes.
        output: its output pipe.
        record: of its launch.
        plan: that it was launched from.
        store: stores the record, which it encodes when it is written; must not block.
    """

    def __init__(
        self,
        process: ProcessTree,
        output: Output,
        record: CompanionRecord,
        plan: LaunchPlan,
        store: Callable[[Callable[[], bytes]], None],
    ) -> None:
        self.pid = process.pid
        self.started_at = record.started_at
        self.output = output
        self.is_handed_over = False
        self._process = process
        self._record = record
        self._stop = plan.config.processes[record.name].stop
        self._store = store

    def open_gate(self) -> None:
        """Let it start, if it has not started."""
        self._process.open_gate()

    async def main_changed(self, known: int | None) -> int:
        """Wait until the main process is another one than ``known``, and return its pid."""
        before: object = None
        while True:
            glimpse = self._process.glimpse(known)
            if glimpse != before:
                before, main = glimpse, await self._process.main()
                if self._record.known != self._process.known:
                    self._update(known=self._process.known)
                if main is not None and main != known:
                    return main
            await trio.sleep(_FOLLOW_SECONDS)

    async def ended(self) -> int | None:
        """Wait until its main process has ended, and return the exit status."""
        return await self._process.ended()

    def last_lines(self) -> list[str]:
        """Return the first and the last lines of its output, including what is still in the pipe."""
        return self.output.excerpt()

    def belong_to(self, generation_id: int) -> None:
        """Record that it belongs to another generation now, which its memory and CPU time count for."""
        self._process.launch.generation = generation_id
        self._update(owner=generation_id)

    def leave(self) -> None:
        """Hand it over to another agent, as it is."""
        self.is_handed_over = True
        self._process.hand_over()

    async def end(self, stop_now: trio.Event) -> ExitReport:
        """Ask it to end once, kill what is left after ``kill_after``, and reap everything.

        A second signal would make many workers drop the job that they are finishing, so one that an earlier agent has
        asked to end is only waited for.
        """
        asked_seconds = self._record.asked_seconds
        left_seconds = self._stop.kill_after
        if asked_seconds is None:
            self._update(asked_seconds=time.monotonic())
        else:
            left_seconds = max(0.0, asked_seconds + self._stop.kill_after - time.monotonic())
            async with patience(left_seconds, stop_now):
                await self._process.ended()
            left_seconds = max(0.0, asked_seconds + self._stop.kill_after - time.monotonic())
        return await self._process.end(signal=self._stop.signal, kill_after_seconds=left_seconds, stop_now=stop_now)

    def _update(self, **changes: object) -> None:
        self._record = replace(self._record, **changes)  # type: ignore[arg-type]
        self._store(self._record.encode)
