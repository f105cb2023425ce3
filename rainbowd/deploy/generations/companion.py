"""The life of one companion process: start, watch, start again after an exit, ask to end, kill, reap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.cancellation import cancel_on
from rainbowd.deploy.generations.backoff import STABLE_SECONDS, Backoff
from rainbowd.errors import DeployFailed
from rainbowd.log import get_logger
from rainbowd.roster import ProcessState, ProcessStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from rainbowd.deploy.companion_interfaces import CompanionProcess, Instance, RecordedCompanion
    from rainbowd.deploy.context import DeployContext
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.deploy.process import ExitReport

CRASH_LOOP_EXITS = 3
"""After this many exits in a row, with no stable run in between, a process is in a crash loop."""

log = get_logger()


class Companion:
    """One companion process of a generation; started again whenever it exits, until it is asked to end.

    Args:
        instance: which process.
        plan: of its generation.
        generation_id: the generation that it belongs to.
        context: see ``DeployContext``.
        until_turn: waits until it may start: at once, or when those of older generations have ended.
        recorded: what an earlier agent recorded of it, if that has started it.

    Attributes:
        instance: see above.
        status: for ``rainbowd status``.
        ended: set once nothing of it is left in the care of this agent.
    """

    def __init__(
        self,
        instance: Instance,
        plan: LaunchPlan,
        generation_id: int,
        context: DeployContext,
        *,
        until_turn: Callable[[], Awaitable[None]],
        recorded: RecordedCompanion | None = None,
    ) -> None:
        self.instance = instance
        self.status = ProcessStatus(instance.name, instance.number, restarts=recorded.restarts if recorded else 0)
        self.ended = trio.Event()
        self._plan = plan
        self._generation_id = generation_id
        self._context = context
        self._until_turn = until_turn
        self._recorded = recorded
        self._ending = trio.Event()
        self._restarting = trio.Event()
        self._backoff = Backoff()
        self._process: CompanionProcess | None = None

    def end(self) -> None:
        """Ask it to end, and do not start it again."""
        self._ending.set()

    def restart(self) -> None:
        """Ask it to end, and start it again at once; if it waits for a delay, start it now."""
        self._restarting.set()

    def move_to(self, generation_id: int) -> None:
        """Belong to another generation, which was launched from the same plan."""
        self._generation_id = generation_id
        if self._process is not None:
            self._process.belong_to(generation_id)

    async def run(self) -> None:
        """Keep it running until it is asked to end; no failure of it leaves this coroutine."""
        try:
            if self._recorded is not None:
                await self._continue(self._recorded)
            await _unless(self._until_allowed, self._ending)
            while not self._ending.is_set():
                await self._launch_once()
        except Exception as bug:
            log.error("bug: the life of a companion process broke", **self._fields, exc_info=bug)
        finally:
            self.ended.set()

    async def _continue(self, recorded: RecordedCompanion) -> None:
        """Watch a process that an earlier agent started, to its end."""
        started_at = trio.current_time()
        await self._run_once(self._context.host.companion_launcher.adopt_companion(recorded), is_adopted=True)
        await self._until_next(trio.current_time() - started_at)

    async def _until_allowed(self) -> None:
        """Wait until this agent owns the generation, and it is the turn of this process."""
        await self._context.ownership.until_complete()
        await self._until_turn()

    async def _launch_once(self) -> None:
        """Start it, watch it to its end, and wait until it may be started again."""
        self._restarting = trio.Event()
        started_at = trio.current_time()
        opening = self._context.host.companion_launcher.launch_companion(
            self._plan,
            self._generation_id,
            self.instance,
            restarts=self.status.restarts,
            stop_now=self._context.stop_now,
        )
        try:
            await self._run_once(opening, is_adopted=False)
        except DeployFailed as failure:
            self._record_failed_start(failure.reason)
        await self._until_next(trio.current_time() - started_at)

    def _record_failed_start(self, reason: str) -> None:
        log.error("cannot start a companion process", **self._fields, reason=reason)
        self.status.last_output = [reason]
        self._record(
            "process.exited",
            log.debug,
            exit_status=None,
            expected=False,
            killed=False,
            left=[],
            output=[],
            reason=reason,
        )

    async def _until_next(self, ran_seconds: float) -> None:
        """Wait for the delay before the next start; a restart that a person requested has none."""
        if self._ending.is_set():
            return
        if self._restarting.is_set():
            self.status.exits_in_a_row = 0
            self._backoff.reset()
        else:
            self.status.exits += 1
            self.status.exits_in_a_row = 1 if ran_seconds >= STABLE_SECONDS else self.status.exits_in_a_row + 1
            delay_seconds = self._backoff.next_delay_seconds(ran_seconds)
            self._report_crash_loop()
            with trio.move_on_after(delay_seconds):
                await _unless(trio.sleep_forever, self._ending, self._restarting)
        self.status.restarts += 1

    def _report_crash_loop(self) -> None:
        if self.status.exits_in_a_row == CRASH_LOOP_EXITS:
            log.error("a companion process keeps exiting", **self._fields, exits=CRASH_LOOP_EXITS)
        self._context.roster.notify_observers()

    # --- one process ----------------------------------------------------------------------------------------------

    async def _run_once(self, opening: AbstractAsyncContextManager[CompanionProcess], *, is_adopted: bool) -> None:
        """Run one process to its end; or leave it running, to another agent that owns it."""
        ownership = self._context.ownership
        async with opening as process:
            self._process = process
            try:
                self._begin(process, is_adopted=is_adopted)
                await _unless(lambda: self._until_ended(process), self._ending, self._restarting)
                if is_adopted:
                    await ownership.until_complete()
            finally:
                self._process = None
                if ownership.covers(is_adopted=is_adopted):
                    with trio.CancelScope(shield=True):  # bounded by kill_after
                        await self._finish(process)
                else:
                    process.leave()

    def _begin(self, process: CompanionProcess, *, is_adopted: bool) -> None:
        self.status.state = ProcessState.RUNNING
        self.status.pid, self.status.started_at = process.pid, process.started_at
        if not is_adopted:
            process.open_gate()
            self._record("process.started", log.info, pid=process.pid, restarts=self.status.restarts)
        self._context.roster.notify_observers()

    async def _until_ended(self, process: CompanionProcess) -> None:
        """Wait until its main process has ended, and publish the main process whenever it changes."""

        async def follow() -> None:
            while True:
                self.status.pid = await process.main_changed(self.status.pid)
                self._context.roster.notify_observers()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await process.ended()
            nursery.cancel_scope.cancel()

    async def _finish(self, process: CompanionProcess) -> None:
        """End and reap what is left of a process, and record how it ended."""
        is_expected = self._ending.is_set() or self._restarting.is_set()
        self.status.state = ProcessState.STOPPING
        self._context.roster.notify_observers()
        report = await process.end(self._context.stop_now)
        self.status.state = ProcessState.WAITING
        self.status.pid = self.status.started_at = None
        output = [] if is_expected else process.last_lines()
        if not is_expected:
            self.status.last_output = output
        self._record_end(report, output, is_expected=is_expected)
        self._context.roster.notify_observers()

    def _record_end(self, report: ExitReport, output: list[str], *, is_expected: bool) -> None:
        if report.left:
            log.error("processes could not be ended", **self._fields, pids=report.left, reason=report.reason)
        self._record(
            "process.exited",
            log.info if is_expected and not report.killed else log.warning,
            exit_status=report.exit_status,
            expected=is_expected,
            killed=report.killed,
            left=report.left,
            output=output,
        )

    @property
    def _fields(self) -> dict[str, object]:
        return {"generation": self._generation_id, "process": self.instance.label(self._plan)}

    def _record(self, event: str, log_line: Callable[..., object], **fields: object) -> None:
        log_line(event, **self._fields, **fields)
        self._context.recorder.record(
            event,
            generation=self._generation_id,
            release=self._plan.release,
            process=self.instance.name,
            instance=self.instance.number,
            **fields,
        )


async def _unless(wait: Callable[[], Awaitable[None]], *events: trio.Event) -> None:
    """Run ``wait`` to its end, or until one of ``events`` is set."""
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(cancel_on, event, nursery.cancel_scope)
        await wait()
        nursery.cancel_scope.cancel()
