"""The checks of a launch: the release, the programs, and the port or the socket."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from rainbowd.address import SOCKET_PATH_BYTES
from rainbowd.config import find_account
from rainbowd.deploy.host.command_line import environment, render
from rainbowd.deploy.host.generation_files import GenerationFiles
from rainbowd.deploy.host.hook_permissions import HOOKS, check_hook_permissions, first_word
from rainbowd.deploy.host.ports import choose_port
from rainbowd.deploy.host.programs import CommandNotFound, check_executable, find_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.cli.checks.findings import Findings
    from rainbowd.config import Config

    Command = str | tuple[str, ...]

LONGEST_GENERATION = 99_999
"""A generation id that is large enough for years: ids only grow, and are part of the socket path."""


def check_launch(config: Config, env_file: Mapping[str, str], found: Findings, *, is_known: bool) -> None:
    """Check what a launch needs.

    Args:
        config: the config.
        env_file: the variables of the env file.
        found: the findings to add to.
        is_known: the env file could be read, so the environment is known.
    """
    release_problems = _release_problems(config.release)
    found.problems += release_problems
    if is_known and not release_problems:
        _check_programs(config, env_file, found)
    if config.release.is_dir() and not config.release.is_symlink():
        found.notes.append(
            "release: is not a symlink; a deploy in place overwrites the live release, so that after a failed deploy "
            "there is nothing to roll back to"
        )
    if config.uses_socket:
        _check_socket(config, found)
    else:
        found.attempt("ports", lambda: choose_port(config.ports, ()))


def _release_problems(release: Path) -> list[str]:
    expected = "expected a directory, or a symlink to one"
    try:
        directory = os.path.realpath(release, strict=True)
    except OSError as error:
        is_link = release.is_symlink()
        found = f"a dangling link to {release.readlink()}" if is_link else f"no directory {release}"
        first = "; before the first deploy this is normal: rainbowd starts, and waits for a release"
        can_appear = isinstance(error, FileNotFoundError) and release.parent.is_dir()
        return [f"release: found {found} ({error.strerror}); {expected}{first if can_appear else ''}"]
    if not Path(directory).is_dir():
        return [f"release: found {directory}, which is not a directory; {expected}"]
    if not os.access(directory, os.X_OK):
        return [f"release: found {directory}, which this user may not enter; {expected}"]
    return []


def _check_programs(config: Config, env_file: Mapping[str, str], found: Findings) -> None:
    """Check the programs of the app, the hooks and the companion processes."""
    release = config.release.resolve()
    env = environment(
        os.environ,
        config_env=config.env,
        env_file_env=env_file,
        **_address(config),
        release=release,
        generation=LONGEST_GENERATION,
        state_dir=config.state_dir,
        account=find_account(config.user, config.group),
    )
    commands: dict[str, Command | None] = {"run": config.run}
    commands |= {f"hooks.{hook}": getattr(config.hooks, hook) for hook in HOOKS}
    commands |= {f"processes.{name}.run": settings.run for name, settings in config.processes.items()}
    for key, command in commands.items():
        if command is not None:
            found.attempt(key, partial(_check_program, config, key, command, env, found))
    for hook in HOOKS:
        found.attempt(f"hooks.{hook}", partial(check_hook_permissions, config, release, env, (hook,)))


def _check_program(config: Config, key: str, command: Command, env: Mapping[str, str], found: Findings) -> None:
    release, account = config.release.resolve(), find_account(config.user, config.group)
    argv = _argv(config, command, env, release)
    try:
        programs = find_command(argv, env, release, key=key, account=account)
    except CommandNotFound as missing:
        is_before = key != "hooks.before_launch" and config.hooks.before_launch is not None
        if not is_before or not any(_is_inside(place, release) for place in missing.places):
            raise
        found.notes.append(f"{missing.reason}; hooks.before_launch may make it")
    else:
        found.warnings += _of_other_releases(key, programs, release)


def _argv(config: Config, command: Command, env: Mapping[str, str], release: Path) -> list[str]:
    """Return a command whose program can be checked: for a shell's, its first word if that is a plain program."""
    if not isinstance(command, str):
        return render(command, **_address(config), release=release, generation=LONGEST_GENERATION)
    word = first_word(command)
    is_builtin = word is None or ("/" not in word and _shell_knows(word, env, release))
    return ["sh"] if word is None or is_builtin else [word]


def _shell_knows(word: str, env: Mapping[str, str], release: Path) -> bool:
    result = subprocess.run(
        ["sh", "-c", 'command -v "$1"', "sh", word],
        cwd=release,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return result.returncode == 0


def _is_inside(path: Path, release: Path) -> bool:
    """Return whether a file or link, which need not exist, is in the release, wherever the link points."""
    return Path(os.path.realpath(path.parent)).is_relative_to(release)


def _of_other_releases(key: str, programs: tuple[Path, ...], release: Path) -> list[str]:
    """Return a warning for an interpreter in another release, which a virtual environment refers to if it was copied.

    Such an interpreter has the path of one in this release, except for the name of the release.
    """
    script, *interpreters = programs
    warnings = []
    for interpreter in interpreters if _is_inside(script, release) else ():
        place = Path(os.path.realpath(interpreter.parent))
        if not place.is_relative_to(release.parent) or place.is_relative_to(release):
            continue
        other, *rest = place.relative_to(release.parent).parts
        if rest and release.joinpath(*rest).is_dir():
            warnings.append(
                f"{key}: {script} is run by {interpreter}, which belongs to the release {other}: it stops working when "
                "that release is removed; create the environment in each release"
            )
    return warnings


class _Address(TypedDict):
    port: int | None
    socket: Path | None
    pidfile: Path


def _address(config: Config) -> _Address:
    """Return where a generation would be reached, as ``render`` and ``environment`` take it."""
    place = GenerationFiles(config.state_dir, LONGEST_GENERATION)
    return {
        "port": None if config.uses_socket else config.ports.first,
        "socket": place.socket if config.uses_socket else None,
        "pidfile": place.pidfile,
    }


def _check_socket(config: Config, found: Findings) -> None:
    """Check whether the app could listen in its own directory."""
    account = find_account(config.user, config.group)
    parent = config.state_dir.parent  # the directory itself is opened at the launch
    found.attempt("state_dir", lambda: check_executable(parent, account, f"user may not enter {parent}"))
    path = GenerationFiles(config.state_dir, LONGEST_GENERATION).socket
    length_bytes = len(os.fsencode(path))
    if length_bytes > SOCKET_PATH_BYTES:
        is_long = f"a socket path of {length_bytes} bytes, {path}"
        found.problems.append(f"state_dir: found {is_long}; expected at most {SOCKET_PATH_BYTES} bytes")
