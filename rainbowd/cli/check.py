"""``rainbowd check``: what the config says, what would run, who may deploy, and what would fail at launch."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.address import SOCKET_PATH_BYTES
from rainbowd.cli.api import need_api
from rainbowd.cli.terminal import complain
from rainbowd.config import (
    cautions,
    deployers,
    exposures,
    find_account,
    load,
    plain,
    read_env_file,
    refuse_foreign_writers,
    user_name,
)
from rainbowd.deploy.machine.commands import render
from rainbowd.deploy.machine.foreign import HOOKS, first_word, refuse_foreign_hooks
from rainbowd.deploy.machine.programs import find_command, refuse_closed
from rainbowd.errors import ConfigError, RainbowdError
from rainbowd.locations import find_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from rainbowd.config import Config

LONGEST_GENERATION = 99_999
"""Numbers only grow; a socket path has to have room for them for years."""


def check(config_path: Path | None) -> int:
    """Judge a config as the agent would, without starting anything.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: the config cannot be used, or what it says would fail at launch; every problem is told.
    """
    file = find_config(config_path)
    loaded = load(file)
    if os.geteuid() == 0:
        refuse_foreign_writers(file)
    config = loaded.config
    for warning in (*loaded.warnings, *(f"{file}: {caution}" for caution in cautions(config))):
        complain(f"warning: {warning}")
    _print_config(config)
    problems = _problems(config) + _api_problems(config)
    if problems:
        raise ConfigError(*(f"{file}: {problem}" for problem in problems))
    print(f"\n{file} is good: nothing is known that would fail at a launch")
    return 0


def _print_config(config: Config) -> None:
    print(json.dumps(plain(config), indent=2))
    print(f"\nrelease: {os.path.realpath(config.release)}")
    print("may deploy:")
    for way, who in deployers(config).items():
        print(f"  {way}: {who}")
    hooks = {hook: command for hook in HOOKS if (command := getattr(config.hooks, hook)) is not None}
    if hooks:
        account = find_account(config.user, config.group)
        print(f"hooks, as {user_name(os.geteuid() if account is None else account.uid)}:")
    for hook, command in hooks.items():
        print(f"  {hook}: {command if isinstance(command, str) else shlex.join(command)}")


def _problems(config: Config) -> list[str]:
    """What would fail at launch."""
    found = _judged("env_file", lambda: _app_environment(config))
    places = _state_dir_problems(config.state_dir)
    found += _release_problems(config.release)
    if not found:
        found += _judged("run", lambda: _find_command(config, "run", config.run))
        for hook in HOOKS:
            found += _hook_problems(config, hook, getattr(config.hooks, hook))
    if config.uses_socket:
        return found + (places or _socket_problems(config))
    return found + places + _judged("ports", lambda: _find_port(config))


def _api_problems(config: Config) -> list[str]:
    return exposures(config) + (_judged("api", need_api) if config.api.enabled else [])


def _judged(key: str, attempt: Callable[[], object]) -> list[str]:
    """What ``attempt`` fails with."""
    try:
        attempt()
    except RainbowdError as error:
        return [f"{key}: {line.removeprefix(f'{key}: ')}" for line in str(error).splitlines()]
    return []


def _app_environment(config: Config) -> dict[str, str]:
    """The environment that commands are looked up in, as far as a config decides it."""
    environment = {**os.environ, **config.env}
    if config.env_file is None:
        return environment
    if os.geteuid() == 0:
        refuse_foreign_writers(config.env_file)
    return environment | read_env_file(config.env_file)


def _release_problems(release: Path) -> list[str]:
    expected = "expected a directory, or a symlink to one"
    try:
        directory = os.path.realpath(release, strict=True)
    except OSError as error:
        is_link = release.is_symlink()
        found = f"a dangling link to {release.readlink()}" if is_link else f"no directory {release}"
        return [f"release: found {found} ({error.strerror}); {expected}"]
    if not Path(directory).is_dir():
        return [f"release: found {directory}, which is no directory; {expected}"]
    if not os.access(directory, os.X_OK):
        return [f"release: found {directory}, which may not be entered; {expected}"]
    return []


def _state_dir_problems(state_dir: Path) -> list[str]:
    """Why it could be made by nobody; whether the agent's user may is not known here."""
    there = next((place for place in (state_dir, *state_dir.parents) if os.path.lexists(place)), state_dir)
    is_directory = os.path.isdir(there)  # noqa: PTH112 - that of pathlib raises where the other says no
    return [] if is_directory else [f"state_dir: found {there}, which is no directory; expected one"]


def _hook_problems(config: Config, hook: str, command: str | tuple[str, ...] | None) -> list[str]:
    if command is None:
        return []
    key = f"hooks.{hook}"
    return _judged(key, lambda: _find_command(config, key, command)) + _judged(
        key, lambda: refuse_foreign_hooks(config, config.release.resolve(), _app_environment(config), (hook,))
    )


def _find_command(config: Config, key: str, command: str | tuple[str, ...]) -> None:
    """Look for the program that a command names.

    Of a shell's command only a plain first word is judged: the rest is the shell's to know.
    """
    environment, release = _app_environment(config), config.release.resolve()
    account = find_account(config.user, config.group)
    if isinstance(command, str):
        word = first_word(command)
        if word is None or ("/" not in word and _shell_knows(word, environment, release)):
            find_command(["sh"], environment, release, key=key, account=account)
        else:
            find_command([word], environment, release, key=key, account=account)
        return
    directory = config.state_dir / f"generation-{LONGEST_GENERATION}"
    argv = render(
        command,
        port=None if config.uses_socket else config.ports.first,
        socket=directory / "sock" if config.uses_socket else None,
        pidfile=directory / "pid",
        release=release,
        generation=LONGEST_GENERATION,
    )
    find_command(argv, environment, release, key=key, account=account)


def _shell_knows(word: str, environment: dict[str, str], release: Path) -> bool:
    asked = subprocess.run(
        ["sh", "-c", 'command -v "$1"', "sh", word],
        cwd=release,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return asked.returncode == 0


def _find_port(config: Config) -> None:
    from rainbowd.deploy.machine.ports import choose_port

    choose_port(config.ports, ())


def _socket_problems(config: Config) -> list[str]:
    """Why the app could not listen in its own directory."""
    account = find_account(config.user, config.group)
    parent = config.state_dir.parent  # the directory itself is opened at the launch
    found = _judged("state_dir", lambda: refuse_closed(parent, account, f"user may not enter {parent}"))
    path = config.state_dir / f"generation-{LONGEST_GENERATION}" / "sock"
    length_bytes = len(os.fsencode(path))
    if length_bytes > SOCKET_PATH_BYTES:
        is_long = f"a socket path of {length_bytes} bytes, {path}"
        found.append(f"state_dir: found {is_long}; expected at most {SOCKET_PATH_BYTES} bytes")
    return found
