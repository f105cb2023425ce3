"""The parts of a launch that apps and companion processes have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trio

from rainbowd.config import find_account
from rainbowd.deploy.host.output import Output
from rainbowd.deploy.process import spawn
from rainbowd.errors import ConfigError, DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rainbowd.address import Address
    from rainbowd.config import Account, Config
    from rainbowd.deploy.host.generation_files import GenerationFiles
    from rainbowd.deploy.process import ProcessTree

CLEAR_SECONDS = 30.0
"""How long the end of a launch waits for the removal of its files."""

log = get_logger()


def find_launch_account(config: Config) -> Account | None:
    """Return the account that processes are started as; None for the agent's own.

    Args:
        config: that they are launched with.

    Raises:
        DeployFailed: the user was removed since the config was read.
    """
    try:
        return find_account(config.user, config.group)
    except ConfigError as error:
        raise DeployFailed(str(error)) from None


class Command(NamedTuple):
    """A command that is ready to be started: its arguments, its environment, and the account that runs it."""

    argv: list[str]
    env: dict[str, str]
    account: Account | None


def spawn_with_output(
    command: Command, files: GenerationFiles, release: Path, *, address: Address | None, nofile_limit: int
) -> tuple[ProcessTree, Output]:
    """Create the directory and the output pipe of a launch, and start its process at the gate.

    Args:
        command: what to start.
        files: of the launch.
        release: the directory to run in.
        address: the address of an app; None for a companion process.
        nofile_limit: its soft limit of open files.

    Raises:
        DeployFailed: the state directory cannot be written, or the process cannot be started.
    """
    account = command.account
    try:
        files.make(account)
        output = Output(files.output, -1 if account is None else account.uid)
    except OSError as error:
        raise DeployFailed(f"state_dir: cannot write there: {error.strerror} ({error.filename})") from None
    try:
        process = spawn(
            command.argv,
            cwd=release,
            env=command.env,
            address=address,
            output_fd=output.child_fd,
            nofile_limit=nofile_limit,
            account=account,
        )
    except DeployFailed:
        output.close()
        raise
    output.close_child_end()
    return process, output


async def clear_files(files: GenerationFiles, store: Callable[[str, Callable[[], bytes] | None], None]) -> None:
    """Remove the files of a launch, for at most ``CLEAR_SECONDS``; the next start of an agent removes the rest.

    Args:
        files: of a launch that has no process left.
        store: cancels writes of these files that are pending.
    """
    try:
        with trio.move_on_after(CLEAR_SECONDS, shield=True):
            await trio.to_thread.run_sync(files.clear, abandon_on_cancel=True)
    except OSError as error:
        log.warning("cannot remove the files of a generation", file=error.filename, error=error.strerror)
    for file in files.all:
        store(file.name, None)
