"""One run of a hook: its processes, its time limit, its output.

A hook's processes are tracked like a generation's: they wait to be started, and have their own session and a mark.
The mark differs, so that neither is mistaken for the other.  Processes that a hook leaves running are ended with it.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

from rainbowd.deploy.hook_call import HookCall, HookResult
from rainbowd.deploy.host.command_line import hook_environment
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.hook_permissions import check_hook_permissions
from rainbowd.deploy.host.launch import Command, make_command, spawn_command
from rainbowd.deploy.host.output import Output
from rainbowd.deploy.host.programs import find_command
from rainbowd.deploy.process.exit_status import describe_exit
from rainbowd.errors import DeployFailed, RainbowdError
from rainbowd.log import get_logger
from rainbowd.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.deploy.process import ProcessTree

log = get_logger()


async def run_hook(
    call: HookCall,
    state_dir: Path,
    *,
    nofile_limit: int,
    cancel: trio.Event,
    stop_now: trio.Event,
    on_line: Callable[[str], None],
) -> HookResult:
    """Run a hook, and end every process that it started.

    Args:
        call: the hook, and what its environment contains.
        state_dir: absolute; by it a later agent finds the processes of an agent that was killed.
        nofile_limit: its soft limit of open files.
        cancel: when set, the hook is stopped.
        stop_now: when set, processes that still run after the stop signal are killed at once.
        on_line: called with each line of its output; must not block.

    Returns:
        The result, also if the hook could not be started.
    """
    try:
        command = _prepare(call, state_dir)
    except RainbowdError as error:
        return HookResult(None, [], str(error))
    output = Output(None, command.owner_uid)
    try:
        process = spawn_command(command, call.plan.release, output, address=None, nofile_limit=nofile_limit)
        failure = await _until_over(process, output, call, cancel, stop_now=stop_now, on_line=on_line)
        return HookResult(process.exit_status, output.excerpt(), failure)
    except DeployFailed as error:
        return HookResult(None, [], error.reason)
    finally:
        output.close()


def _prepare(call: HookCall, state_dir: Path) -> Command:
    """Render a hook's command and check that it can be run.

    Raises:
        RainbowdError: the program does not exist, or others can write it.
    """
    config, release = call.plan.config, call.plan.release
    command = make_command(
        getattr(config.hooks, call.hook),
        call.plan,
        call.generation,
        address=call.address,
        pidfile=None if call.generation is None else GenerationFiles(state_dir, call.generation).pidfile,
        state_dir=state_dir,
    )
    command = command._replace(env=hook_environment(command.env, call))
    find_command(command.argv, command.env, release, key=f"hooks.{call.hook}", account=command.account)
    check_hook_permissions(config, release, command.env, (call.hook,))
    return command


async def _until_over(
    process: ProcessTree,
    output: Output,
    call: HookCall,
    cancel: trio.Event,
    *,
    stop_now: trio.Event,
    on_line: Callable[[str], None],
) -> str | None:
    """Wait until the hook exits, times out or is stopped; return what went wrong, in words, or None."""
    config = call.plan.config
    failure: str | None = f"did not end within {config.hooks.timeout:g} s"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.drain, lambda line: on_line(plain(line)))
        process.open_gate()
        try:
            with trio.move_on_after(config.hooks.timeout):
                failure = await _first(process, cancel)
        finally:
            with trio.CancelScope(shield=True):  # bounded by kill_after
                ending = await process.end(
                    signal=signal.SIGTERM, kill_after_seconds=config.drain.kill_after, stop_now=stop_now
                )
            nursery.cancel_scope.cancel()
    output.finish()
    if ending.left:
        log.error("processes could not be ended", hook=call.hook, pids=ending.left, reason=ending.reason)
    return failure and f"the hook {call.hook} {failure}"


async def _first(process: ProcessTree, cancel: trio.Event) -> str | None:
    """Wait until the hook exits or ``cancel`` is set; return what went wrong, in words, or None."""
    failure: str | None = "was stopped, because another release was requested"
    async with trio.open_nursery() as nursery:

        async def watch_end() -> None:
            nonlocal failure
            status = await process.wait()
            failure = None if status == 0 else describe_exit(status)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch_end)
        await cancel.wait()
        nursery.cancel_scope.cancel()
    return failure
