"""One companion process: its processes, its output, and its record for a later agent."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from rainbowd.deploy.host.launched_process import LaunchedProcess
from rainbowd.deploy.process.ending import patience

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from rainbowd.deploy.companion_record import CompanionRecord
    from rainbowd.deploy.host.output import Output
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.deploy.process import ExitReport, ProcessTree


class LaunchedCompanion(LaunchedProcess):
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
        super().__init__(process, output, plan.config)
        self.started_at = record.started_at
        self._record = record
        self._stop = plan.config.processes[record.name].stop
        self._store = store

    def store_again(self) -> None:
        """Store the last record once more, because the file is gone."""
        self._store(self._record.encode)

    def _record_known(self) -> None:
        if self._record.known != self._process.known:
            self._update(known=self._process.known)

    def belong_to(self, generation_id: int) -> None:
        """Record that it belongs to another generation now, which its memory and CPU time count for."""
        self._process.launch.generation = generation_id
        self._update(owner=generation_id)

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
