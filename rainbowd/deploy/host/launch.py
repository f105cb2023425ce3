"""The parts of a launch that apps and companion processes have in common."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import trio

from rainbowd.address import TcpAddress, UnixAddress
from rainbowd.config import find_account
from rainbowd.deploy.host.command_line import environment, render
from rainbowd.deploy.host.output import Output
from rainbowd.deploy.host.state_files import encode_plan
from rainbowd.deploy.process import spawn
from rainbowd.errors import ConfigError, DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rainbowd.address import Address
    from rainbowd.config import Account, Config
    from rainbowd.deploy.host.generation_files import GenerationFiles
    from rainbowd.deploy.launch_plan import LaunchPlan
    from rainbowd.deploy.process import LaunchMarks, ProcessTree

CLEAR_SECONDS = 30.0
"""How long the end of a launch waits for the removal of its files."""

log = get_logger()


class Command(NamedTuple):
    """A command that is ready to be started: its arguments, its environment, and the account that runs it."""

    argv: list[str]
    env: dict[str, str]
    account: Account | None

    @property
    def owner_uid(self) -> int:
        """The uid that owns its output pipe; -1 for the agent's own."""
        return -1 if self.account is None else self.account.uid


def make_command(
    run: str | Sequence[str],
    plan: LaunchPlan,
    generation_id: int | None,
    *,
    address: Address | None,
    pidfile: Path | None,
    state_dir: Path,
    own_env: Mapping[str, str] | None = None,
) -> Command:
    """Return ``run`` with its placeholders replaced, and the environment of the app.

    Args:
        run: the command of the config.
        plan: that it is launched from.
        generation_id: of its generation; None for a hook that has none.
        address: of its generation's app; None for a launch that has none.
        pidfile: in which a daemon can write its pid; None for a hook that has no generation.
        state_dir: absolute; together with the generation it marks the processes as this agent's.
        own_env: variables of its own, in the form of ``env`` of the config, whose place they take.

    Raises:
        DeployFailed: the user was removed since the config was read.
    """
    account = _find_account(plan.config)
    port, socket = _port_and_socket(address)
    argv = render(run, port=port, socket=socket, pidfile=pidfile, release=plan.release, generation=generation_id)
    env = environment(
        os.environ,
        config_env={**plan.config.env, **(own_env or {})},
        env_file_env=plan.env_file,
        port=port,
        socket=socket,
        pidfile=pidfile,
        release=plan.release,
        generation=generation_id,
        state_dir=state_dir,
        account=account,
    )
    return Command(argv, env, account)


def _port_and_socket(address: Address | None) -> tuple[int | None, Path | None]:
    return (
        address.port if isinstance(address, TcpAddress) else None,
        address.path if isinstance(address, UnixAddress) else None,
    )


def _find_account(config: Config) -> Account | None:
    try:
        return find_account(config.user, config.group)
    except ConfigError as error:
        raise DeployFailed(str(error)) from None


def spawn_command(
    command: Command, release: Path, output: Output, *, address: Address | None, nofile_limit: int
) -> ProcessTree:
    """Start the process of a command at the gate.

    Args:
        command: what to start.
        release: the directory to run in.
        output: what it writes to.
        address: the address of an app; None for other processes.
        nofile_limit: its soft limit of open files.

    Raises:
        DeployFailed: the process cannot be started.
    """
    return spawn(
        command.argv,
        cwd=release,
        env=command.env,
        address=address,
        output_fd=output.child_fd,
        nofile_limit=nofile_limit,
        account=command.account,
    )


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
    try:
        files.make(command.account)
        output = Output(files.output, command.owner_uid)
    except OSError as error:
        raise DeployFailed(f"state_dir: cannot write there: {error.strerror} ({error.filename})") from None
    try:
        process = spawn_command(command, release, output, address=address, nofile_limit=nofile_limit)
    except DeployFailed:
        output.close()
        raise
    output.close_child_end()
    return process, output


def put_on_record(files: GenerationFiles, record: bytes, plan: LaunchPlan, marks: LaunchMarks) -> None:
    """Write the files by which a later agent finds a launch; without them, its process is not started.

    Args:
        files: of the launch.
        record: its encoded record.
        plan: that it is launched from.
        marks: what its processes are recognized by.

    Raises:
        DeployFailed: the state directory cannot be written.
    """
    try:
        files.put_on_record(record, encode_plan(dict(plan.source), dict(plan.env_file), marks))
    except OSError as error:
        raise DeployFailed(f"state_dir: cannot write the record: {error.strerror}") from None


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
