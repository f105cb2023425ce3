"""The Linux host: ports, processes, their files and their output."""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from rainbowd.address import Address, TcpAddress, UnixAddress, parse_address
from rainbowd.config import find_account
from rainbowd.deploy.host import command_line
from rainbowd.deploy.host.app import LaunchedApp
from rainbowd.deploy.host.desired_state import DesiredState
from rainbowd.deploy.host.directory import directory_identity
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.health import Prober
from rainbowd.deploy.host.hook_runner import run_hook
from rainbowd.deploy.host.output import Output, StartupOutput
from rainbowd.deploy.host.ports import choose_port
from rainbowd.deploy.host.previous_run import PreviousRun
from rainbowd.deploy.host.programs import find_command
from rainbowd.deploy.host.state_files import encode_plan
from rainbowd.deploy.process import ProcessTree, spawn
from rainbowd.errors import ConfigError, DeployFailed
from rainbowd.log import get_logger
from rainbowd.report.state_dir import SECRET_MODE, replace_file
from rainbowd.roster import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from rainbowd.config import Account, Config, LoadedConfig
    from rainbowd.deploy.interfaces import HookCall, HookResult, LaunchPlan, LeftGeneration
    from rainbowd.report.generation_ids import GenerationIds

CLEAR_SECONDS = 30.0
"""How long the end of a generation waits for the removal of its app's files."""

log = get_logger()


class LinuxHost(PreviousRun):
    """The ``Host`` of this machine.

    Args:
        file: the config file, read again at each deploy.
        loaded: its content at the start.
        soft_limit: the limit of open files that the agent was started with, which apps get too.
        numbers: hands out the ids of generations.
        app_sink: called with a generation's id and one line of its output; must not block.
        keep: makes bytes the content of a file in the state directory, None removes it; must not block.
    """

    def __init__(
        self,
        file: Path,
        loaded: LoadedConfig,
        *,
        soft_limit: int,
        numbers: GenerationIds,
        app_sink: Callable[[int, str], None],
        keep: Callable[[str, bytes | None], None],
    ) -> None:
        super().__init__(file, loaded, numbers, keep)
        files = DesiredState(file, loaded)
        self.named, self.look, self.plan, self.is_there = files.named, files.look, files.plan, files.is_there
        self.identity = directory_identity
        self.next_number = numbers.next
        self._soft_limit = soft_limit
        self._app_sink = app_sink
        self._prober = Prober()
        self._alive: dict[int, tuple[LaunchedApp, bytes | None]] = {}

    def write_again(self) -> None:
        """Write the files that a later agent needs, after the state directory was removed and created again.

        Raises:
            OSError: a file cannot be written.
        """
        self._numbers.save()
        if self._memory is not None:
            self.remember(self._memory)
        for number, (app, source) in list(self._alive.items()):
            place = GenerationFiles(self._state_dir, number)
            if source is not None:
                replace_file(place.source, source, mode=SECRET_MODE)
            with contextlib.suppress(FileExistsError):
                place.make(app.account)
            app.note_again()

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.time()

    @contextlib.asynccontextmanager
    async def launch(self, plan: LaunchPlan, number: int, hurry: trio.Event) -> AsyncIterator[LaunchedApp]:
        """Prepare one launch of ``plan``, up to the app's first instruction; the context reads its output.

        Raises:
            DeployFailed: no free port, command not found, directory gone, no room for its record.
        """
        place = GenerationFiles(self._state_dir, number)
        address = self._choose_address(plan.config, place)
        try:
            app = self._spawn(plan, number, place, address, hurry)
            await _put_on_record(app, place, plan)
            app.startup_output = StartupOutput(partial(self._keep, place.startup_output.name))
        except BaseException:
            await self._clear(place, address)
            raise
        async with self._holding(app, number, place):
            yield app

    @contextlib.asynccontextmanager
    async def _holding(self, app: LaunchedApp, number: int, place: GenerationFiles) -> AsyncIterator[None]:
        """Read the output of ``app``; at the end none of its processes is left, unless another agent takes it over."""
        self._alive[number] = app, place.launched_from()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(app.output.drain, self._sink(app, number))
                try:
                    yield
                finally:
                    await app.end_if_due()
                    nursery.cancel_scope.cancel()
        finally:
            del self._alive[number]
            app.output.finish()
            app.output.close()
            if not app.is_handed_over:
                await self._clear(place, app.address)

    def _sink(self, app: LaunchedApp, number: int) -> Callable[[str], None]:
        def pass_on(line: str) -> None:
            self._app_sink(number, line)
            if app.startup_output is not None:
                app.startup_output.append(line)

        return pass_on

    async def _clear(self, place: GenerationFiles, address: Address) -> None:
        """Remove a generation's files, for at most ``CLEAR_SECONDS``; the next start removes the rest."""
        try:
            with trio.move_on_after(CLEAR_SECONDS, shield=True):
                await trio.to_thread.run_sync(place.clear, abandon_on_cancel=True)
        except OSError as error:
            log.warning("cannot remove the files of a generation", file=error.filename, error=error.strerror)
        for file in place.files:  # and cancel writes that are pending
            self._keep(file.name, None)
        if isinstance(address, TcpAddress):
            self._ports_in_use.discard(address.port)

    @contextlib.asynccontextmanager
    async def adopt(self, left: LeftGeneration, hurry: trio.Event) -> AsyncIterator[LaunchedApp]:
        """Take over the processes of a generation; the context reads its output."""
        place, record = GenerationFiles(self._state_dir, left.number), self._records[left.number]
        app = LaunchedApp(
            left.plan.config,
            parse_address(record.identity.address),
            ProcessTree.found(
                record.identity,
                self.marks_of(left.number),
                record.known,
            ),
            _open_output(place),
            self._prober,
            keep=partial(self._keep, place.record.name),
            hurry=hurry,
            started_at=left.started_at,
            is_adopted=True,
        )
        async with self._holding(app, left.number, place):
            yield app

    # --- hooks and launches ---------------------------------------------------------------------------------------

    async def run_hook(
        self, call: HookCall, drop: trio.Event, hurry: trio.Event, tell: Callable[[str], None]
    ) -> HookResult:
        """Run a hook to its end, after which none of its processes is left."""
        return await run_hook(call, self._state_dir, nofile_limit=self._soft_limit, drop=drop, hurry=hurry, tell=tell)

    def _choose_address(self, config: Config, place: GenerationFiles) -> Address:
        if config.uses_socket:
            return UnixAddress(place.socket)
        port = choose_port(config.ports, self._ports_in_use)
        self._ports_in_use.add(port)
        return TcpAddress("127.0.0.1", port)

    def _spawn(
        self, plan: LaunchPlan, number: int, place: GenerationFiles, address: Address, hurry: trio.Event
    ) -> LaunchedApp:
        port = address.port if isinstance(address, TcpAddress) else None
        socket = address.path if isinstance(address, UnixAddress) else None
        account = _account(plan.config)
        argv = command_line.render(
            plan.config.run, port=port, socket=socket, pidfile=place.pidfile, release=plan.release, generation=number
        )
        env = command_line.environment(
            os.environ,
            config_env=plan.config.env,
            env_file_env=plan.env_file,
            port=port,
            socket=socket,
            pidfile=place.pidfile,
            release=plan.release,
            generation=number,
            state_dir=self._state_dir,
            account=account,
        )
        find_command(argv, env, plan.release, account=account)
        try:
            place.make(account)
            output = Output(place.output, -1 if account is None else account.uid)
        except OSError as error:
            raise DeployFailed(f"state_dir: cannot write there: {error.strerror} ({error.filename})") from None
        try:
            process = spawn(
                argv,
                cwd=plan.release,
                env=env,
                address=address,
                output_fd=output.child_fd,
                nofile_limit=self._soft_limit,
                account=account,
            )
        except DeployFailed:
            output.close()
            raise
        output.close_child_end()
        return LaunchedApp(
            plan.config,
            address,
            process,
            output,
            self._prober,
            keep=partial(self._keep, place.record.name),
            hurry=hurry,
            started_at=self.now(),
        )


def _account(config: Config) -> Account | None:
    try:
        return find_account(config.user, config.group)
    except ConfigError as error:  # the user was removed since the config was read
        raise DeployFailed(str(error)) from None


async def _put_on_record(app: LaunchedApp, place: GenerationFiles, plan: LaunchPlan) -> None:
    """Write the record of an app that waits to be started; without a record it is not started."""
    try:
        launched = encode_plan(dict(plan.source), dict(plan.env_file), app.marks)
        place.put_on_record(app.record(State.STARTING).encode(), launched)
    except OSError as error:
        await app.end_if_due()
        app.output.close()
        raise DeployFailed(f"state_dir: cannot write the record: {error.strerror}") from None


def _open_output(place: GenerationFiles) -> Output:
    """Return the pipe that the app writes to; if it is gone and cannot be created, one that stays empty."""
    try:
        output = Output(place.output, is_kept=True)
    except OSError as error:
        log.warning("the app's output is lost", file=error.filename, error=error.strerror)
        output = Output(None)
    output.close_child_end()
    return output
