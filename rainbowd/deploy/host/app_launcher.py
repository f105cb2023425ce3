"""The launch of an app: its address, its files, its processes, and the reading of its output."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd.address import Address, TcpAddress, UnixAddress, parse_address
from rainbowd.deploy.host.app import LaunchedApp
from rainbowd.deploy.host.checks import Checks
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.health import Prober
from rainbowd.deploy.host.hook_runner import run_hook
from rainbowd.deploy.host.launch import clear_files, make_command, put_on_record, spawn_with_output
from rainbowd.deploy.host.output import StartupOutput, open_output
from rainbowd.deploy.host.ports import choose_port
from rainbowd.deploy.host.programs import find_command
from rainbowd.deploy.process import check_foreign
from rainbowd.deploy.records import GenerationRecord
from rainbowd.errors import DeployFailed
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rainbowd.config import Config
    from rainbowd.deploy.hook_call import HookCall, HookResult
    from rainbowd.deploy.host.output import Output
    from rainbowd.deploy.host.previous_run import PreviousRun
    from rainbowd.deploy.interfaces import RecordedGeneration
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.deploy.process import ProcessTree
    from rainbowd.log import AppSink
    from rainbowd.report.generation_ids import GenerationIds


class AppLauncher:
    """The launcher of apps and hooks.

    Args:
        previous_run: knows the processes of generations that an earlier agent launched.
        generation_ids: hands out the ids of generations.
        ports_in_use: the ports of apps that run.
        soft_limit: the limit of open files that the agent was started with, which apps get too.
        app_sink: called with a generation's id and one line of its output; must not block.
        store: queues the content of a file in the state directory, encoded when it is written; None removes it.
    """

    def __init__(
        self,
        previous_run: PreviousRun,
        *,
        generation_ids: GenerationIds,
        ports_in_use: set[int],
        soft_limit: int,
        app_sink: AppSink,
        store: Callable[[str, Callable[[], bytes] | None], None],
    ) -> None:
        self.next_generation_id = generation_ids.next
        self._previous_run = previous_run
        self._state_dir = previous_run.state_dir
        self._ports_in_use = ports_in_use
        self._soft_limit = soft_limit
        self._app_sink = app_sink
        self._store = store
        self._prober = Prober()
        self._alive: dict[int, tuple[LaunchedApp, bytes | None]] = {}

    def store_again(self) -> None:
        """Store the records of all generations once more, because the state directory was removed.

        Raises:
            OSError: a file cannot be written.
        """
        for generation_id, (app, source) in list(self._alive.items()):
            files = GenerationFiles(self._state_dir, generation_id)
            files.make_again(source, app.account)
            app.store_again()

    # --- apps -----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def launch(self, plan: LaunchPlan, generation_id: int, stop_now: trio.Event) -> AsyncIterator[LaunchedApp]:
        """Prepare one launch of ``plan``, up to the app's first instruction; the context reads its output.

        Raises:
            DeployFailed: no free port, command not found, directory gone, no room for its record; or earlier launches
                left too many processes that cannot be ended.
        """
        check_foreign()
        files = GenerationFiles(self._state_dir, generation_id)
        address = self._choose_address(plan.config, files)
        try:
            app, record = self._spawn(plan, generation_id, files, address)
            await _put_on_record(app, record, files, plan, stop_now)
            app.startup_output = StartupOutput(partial(self._store, files.startup_output.name))
        except BaseException:
            await self._clear(files, address)
            raise
        async with self._running(app, generation_id, files, stop_now):
            yield app

    @contextlib.asynccontextmanager
    async def _running(
        self, app: LaunchedApp, generation_id: int, files: GenerationFiles, stop_now: trio.Event
    ) -> AsyncIterator[None]:
        """Read the output of ``app``; at the end none of its processes is left, unless another agent takes it over."""
        self._alive[generation_id] = app, files.launched_from()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(app.output.drain, self._sink(app, generation_id))
                try:
                    yield
                finally:
                    await app.end_if_due(stop_now)
                    nursery.cancel_scope.cancel()
        finally:
            del self._alive[generation_id]
            app.output.finish()
            app.output.close()
            if not app.is_handed_over:
                await self._clear(files, app.address)

    def _sink(self, app: LaunchedApp, generation_id: int) -> Callable[[str], None]:
        def pass_on(line: str) -> None:
            self._app_sink(generation_id, line)
            if app.startup_output is not None:
                app.startup_output.append(line)

        return pass_on

    async def _clear(self, files: GenerationFiles, address: Address) -> None:
        await clear_files(files, self._store)
        if isinstance(address, TcpAddress):
            self._ports_in_use.discard(address.port)

    @contextlib.asynccontextmanager
    async def adopt(self, recorded: RecordedGeneration, stop_now: trio.Event) -> AsyncIterator[LaunchedApp]:
        """Take over the processes of a generation; the context reads its output.

        Args:
            recorded: the generation.
            stop_now: when set, processes that still run at the end of the context are killed at once.
        """
        files = GenerationFiles(self._state_dir, recorded.id)
        process, record = self._previous_run.processes_of(recorded.id)
        address = parse_address(record.identity.address)
        checks = Checks(recorded.plan.config, address, process, self._prober, is_adopted=True)
        app = self._make_app(checks, process, open_output(files.output, process.known), record, files)
        async with self._running(app, recorded.id, files, stop_now):
            yield app

    def _choose_address(self, config: Config, files: GenerationFiles) -> Address:
        if config.uses_socket:
            return UnixAddress(files.socket)
        port = choose_port(config.ports, self._ports_in_use)
        self._ports_in_use.add(port)
        return TcpAddress("127.0.0.1", port)

    def _spawn(
        self, plan: LaunchPlan, generation_id: int, files: GenerationFiles, address: Address
    ) -> tuple[LaunchedApp, GenerationRecord]:
        command = make_command(
            plan.config.run,
            plan,
            generation_id,
            address=address,
            pidfile=files.pidfile,
            state_dir=self._state_dir,
        )
        find_command(command.argv, command.env, plan.release, account=command.account)
        process, output = spawn_with_output(
            command, files, plan.release, address=address, nofile_limit=self._soft_limit
        )
        checks = Checks(plan.config, address, process, self._prober, is_adopted=False)
        record = GenerationRecord(process.identity, State.STARTING, time.monotonic(), time.time(), known=process.known)
        return self._make_app(checks, process, output, record, files), record

    def _make_app(
        self, checks: Checks, process: ProcessTree, output: Output, record: GenerationRecord, files: GenerationFiles
    ) -> LaunchedApp:
        return LaunchedApp(checks, process, output, record, partial(self._store, files.record.name))

    # --- hooks ----------------------------------------------------------------------------------------------------

    async def run_hook(
        self, call: HookCall, cancel: trio.Event, stop_now: trio.Event, on_line: Callable[[str], None]
    ) -> HookResult:
        """Run a hook to its end, after which none of its processes is left; for the arguments see ``Launcher``."""
        return await run_hook(
            call, self._state_dir, nofile_limit=self._soft_limit, cancel=cancel, stop_now=stop_now, on_line=on_line
        )


async def _put_on_record(
    app: LaunchedApp, record: GenerationRecord, files: GenerationFiles, plan: LaunchPlan, stop_now: trio.Event
) -> None:
    """Write the record of an app that waits to be started; end the app if that fails."""
    try:
        put_on_record(files, record.encode(), plan, app.marks)
    except DeployFailed:
        await app.end_if_due(stop_now)
        app.output.close()
        raise
