"""The launch of a companion process: its files, its processes, and the reading of its output."""

from __future__ import annotations

import contextlib
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.companion_record import CompanionRecord
from rainbowd.deploy.host.command_line import companion_environment
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.launch import clear_files, make_command, put_on_record, spawn_with_output
from rainbowd.deploy.host.launched_companion import LaunchedCompanion
from rainbowd.deploy.host.output import open_output
from rainbowd.deploy.host.programs import find_command
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from rainbowd.deploy.companion_interfaces import Instance, RecordedCompanion
    from rainbowd.deploy.host.output import Output
    from rainbowd.deploy.host.stored_companions import StoredCompanions
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.deploy.process import ProcessTree
    from rainbowd.log import AppSink


class LinuxCompanionLauncher:
    """The ``CompanionLauncher`` of this machine.

    Args:
        state_dir: the state directory, resolved.
        stored: the records of earlier agents.
        soft_limit: the limit of open files that the agent was started with.
        app_sink: logs their output.
        store: queues the content of a file in the state directory, encoded when it is written; None removes it.
    """

    def __init__(
        self,
        state_dir: Path,
        stored: StoredCompanions,
        *,
        soft_limit: int,
        app_sink: AppSink,
        store: Callable[[str, Callable[[], bytes] | None], None],
    ) -> None:
        self.recorded_companions = stored.read
        self._state_dir = state_dir
        self._stored = stored
        self._soft_limit = soft_limit
        self._app_sink = app_sink
        self._store = store
        self._alive: dict[GenerationFiles, tuple[LaunchedCompanion, bytes | None]] = {}

    def store_again(self) -> None:
        """Store the records of all companion processes once more, because the state directory was removed.

        Raises:
            OSError: a file cannot be written.
        """
        for files, (companion, source) in list(self._alive.items()):
            files.make_again(source, companion.account)
            companion.store_again()

    @contextlib.asynccontextmanager
    async def launch_companion(
        self, plan: LaunchPlan, generation_id: int, instance: Instance, *, restarts: int, stop_now: trio.Event
    ) -> AsyncIterator[LaunchedCompanion]:
        """Prepare one launch, up to the first instruction; the context reads its output meanwhile.

        Raises:
            DeployFailed: command not found, directory gone, no room for its record.
        """
        launch = f"{instance}-{secrets.token_hex(4)}"  # the old and the new process of a restart can overlap
        files = GenerationFiles(self._state_dir, generation_id, launch)
        try:
            process, output = self._spawn(plan, generation_id, instance, files)
            record = CompanionRecord(
                process.identity, instance.name, instance.number, generation_id, time.time(), restarts
            )
            companion = self._companion(process, output, record, plan, files)
            try:
                put_on_record(files, record.encode(), plan, process.marks)
            except DeployFailed:
                await companion.end(stop_now)
                output.close()
                raise
        except BaseException:
            await clear_files(files, self._store)
            raise
        async with self._running(companion, generation_id, instance.label(plan), files):
            yield companion

    @contextlib.asynccontextmanager
    async def adopt_companion(self, recorded: RecordedCompanion) -> AsyncIterator[LaunchedCompanion]:
        """Take over a companion process that an earlier agent launched; the context reads its output."""
        files, record, _ = self._stored.files_of(recorded)
        process = self._stored.processes_of(recorded)
        output = open_output(files.output, process.known)
        companion = self._companion(process, output, record, recorded.plan, files)
        label = recorded.instance.label(recorded.plan)
        async with self._running(companion, recorded.generation_id, label, files):
            yield companion

    def _spawn(
        self, plan: LaunchPlan, generation_id: int, instance: Instance, files: GenerationFiles
    ) -> tuple[ProcessTree, Output]:
        settings, key = instance.settings(plan), f"processes.{instance.name}.run"
        command = make_command(
            settings.run,
            plan,
            generation_id,
            address=None,
            pidfile=files.pidfile,
            state_dir=self._state_dir,
            own_env=settings.env,
        )
        command = command._replace(env=companion_environment(command.env, instance))
        find_command(command.argv, command.env, plan.release, key=key, account=command.account)
        return spawn_with_output(command, files, plan.release, address=None, nofile_limit=self._soft_limit)

    def _companion(
        self, process: ProcessTree, output: Output, record: CompanionRecord, plan: LaunchPlan, files: GenerationFiles
    ) -> LaunchedCompanion:
        return LaunchedCompanion(process, output, record, plan, partial(self._store, files.record.name))

    @contextlib.asynccontextmanager
    async def _running(
        self, companion: LaunchedCompanion, generation_id: int, label: str, files: GenerationFiles
    ) -> AsyncIterator[None]:
        """Read the output of a companion process; then remove its files, unless another agent takes it over."""

        def log_line(line: str) -> None:
            self._app_sink(generation_id, line, label)

        self._alive[files] = companion, files.launched_from()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(companion.output.drain, log_line)
                yield
                nursery.cancel_scope.cancel()
        finally:
            del self._alive[files]
            companion.output.finish()
            companion.output.close()
            if not companion.is_handed_over:
                await clear_files(files, self._store)
