"""One run of a hook: its processes, its time limit, its output.

A hook's processes are held like a generation's, behind a gate, in a session of their own and by a mark; the
mark is another one, so that neither is taken for the other.  What a hook leaves running ends with it.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from rainbowd.address import TcpAddress, UnixAddress
from rainbowd.config import find_account
from rainbowd.deploy.host import command_line
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.hook_permissions import check_hook_permissions
from rainbowd.deploy.host.output import Output
from rainbowd.deploy.host.programs import find_command
from rainbowd.deploy.interfaces import HookCall, HookResult
from rainbowd.deploy.process import spawn
from rainbowd.deploy.process.exit_status import describe_exit
from rainbowd.errors import DeployFailed, RainbowdError
from rainbowd.log import get_logger
from rainbowd.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.config import Account
    from rainbowd.deploy.process import ProcessTree

log = get_logger()


async def run_hook(
    call: HookCall,
    state_dir: Path,
    *,
    nofile_limit: int,
    drop: trio.Event,
    hurry: trio.Event,
    tell: Callable[[str], None],
) -> HookResult:
    """Run a hook, and end all that it started.

    Args:
        call: which, and what it is told.
        state_dir: absolute; by it a later agent finds what an agent that was killed has left.
        nofile_limit: its soft limit of open files.
        drop: it is not to go on.
        hurry: no patience with what does not end once it is told to.
        tell: is given each line of its output as it comes; must not block.

    Returns:
        How it ended; also where it could not be started.
    """
    try:
        start = _prepare(call, state_dir)
    except RainbowdError as error:
        return HookResult(None, [], str(error))
    output = Output(None, start.owner)
    try:
        process = spawn(
            start.argv,
            cwd=call.plan.release,
            env=start.env,
            address=None,
            output_fd=output.child_fd,
            nofile_limit=nofile_limit,
            account=start.account,
        )
        failure = await _until_over(process, output, call, drop, hurry=hurry, tell=tell)
        return HookResult(process.exit_status, output.excerpt(), failure)
    except DeployFailed as error:
        return HookResult(None, [], error.reason)
    finally:
        output.close()


@dataclass(frozen=True)
class _Start:
    """What a hook is started with."""

    argv: list[str]
    env: dict[str, str]
    account: Account | None

    @property
    def owner(self) -> int:
        """Of its output."""
        return -1 if self.account is None else self.account.uid


def _prepare(call: HookCall, state_dir: Path) -> _Start:
    """Render a hook's command and see that it can be run.

    Raises:
        RainbowdError: it is not there, or not to be trusted.
    """
    config, release = call.plan.config, call.plan.release
    account = find_account(config.user, config.group)
    port = call.address.port if isinstance(call.address, TcpAddress) else None
    socket = call.address.path if isinstance(call.address, UnixAddress) else None
    pidfile = None if call.generation is None else GenerationFiles(state_dir, call.generation).pidfile
    argv = command_line.render(
        getattr(config.hooks, call.hook),
        port=port,
        socket=socket,
        pidfile=pidfile,
        release=release,
        generation=call.generation,
    )
    app = command_line.environment(
        os.environ,
        config_env=config.env,
        env_file_env=call.plan.env_file,
        port=port,
        socket=socket,
        pidfile=pidfile,
        release=release,
        generation=call.generation,
        state_dir=state_dir,
        account=account,
    )
    env = command_line.hook_environment(app, call)
    find_command(argv, env, release, key=f"hooks.{call.hook}", account=account)
    check_hook_permissions(config, release, env, (call.hook,))
    return _Start(argv, env, account)


async def _until_over(
    process: ProcessTree,
    output: Output,
    call: HookCall,
    drop: trio.Event,
    *,
    hurry: trio.Event,
    tell: Callable[[str], None],
) -> str | None:
    """Let it run until it has ended, its time is over or it is dropped; what went wrong, in words."""
    config = call.plan.config
    failure: str | None = f"did not end within {config.hooks.timeout:g} s"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.drain, lambda line: tell(plain(line)))
        process.open_gate()
        try:
            with trio.move_on_after(config.hooks.timeout):
                failure = await _first(process, drop)
        finally:
            with trio.CancelScope(shield=True):  # bounded by kill_after
                ending = await process.end(
                    signal=signal.SIGTERM, kill_after_seconds=config.drain.kill_after, hurry=hurry
                )
            nursery.cancel_scope.cancel()
    output.finish()
    if ending.left:
        log.error("processes could not be ended", hook=call.hook, pids=ending.left, why=ending.why)
    return failure and f"the hook {call.hook} {failure}"


async def _first(process: ProcessTree, drop: trio.Event) -> str | None:
    """Its own end or its being dropped, whichever comes first; what went wrong, in words."""
    failure: str | None = "was ended, as it is not wanted any more"
    async with trio.open_nursery() as nursery:

        async def watch_end() -> None:
            nonlocal failure
            status = await process.wait()
            failure = None if status == 0 else describe_exit(status)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch_end)
        await drop.wait()
        nursery.cancel_scope.cancel()
    return failure
