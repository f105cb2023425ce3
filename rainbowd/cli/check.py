"""``rainbowd check``: validate a config, and show what would run and who can deploy."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING

from rainbowd.cli.checks import check_config
from rainbowd.cli.terminal import escape_control, print_error
from rainbowd.config import NeedsRoot, deployers, find_account, load, path_problems, redacted, user_name
from rainbowd.config.account import ROOT
from rainbowd.config_paths import find_config
from rainbowd.deploy.host.hook_permissions import HOOKS
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.cli.checks import Findings
    from rainbowd.config import Config


def check(config_path: Path | None, *, is_verbose: bool = False) -> int:
    """Check a config as the agent would, without starting or creating anything.

    The verdict is printed first, then problems and warnings on stderr, then what would run.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        is_verbose: print the effective config too.

    Returns:
        The exit status: 2 if a start or a launch would fail, else 0.

    Raises:
        ConfigError: the config cannot be loaded; every problem is reported.
    """
    file = find_config(config_path)
    try:
        loaded = load(file, is_for_root=True)
    except ConfigError as error:
        raise ConfigError(*error.problems, *_owners_command(file)) from None
    config, unchecked = _as_this_user(loaded.config)
    found = check_config(config, is_for_root=bool(unchecked))
    if config.fleet is not None:
        from rainbowd.cli.checks.fleet import check_fleet

        check_fleet(config, found)
    found.problems[:0] = path_problems(file, config)
    found.warnings[:0] = unchecked
    found.warnings[:0] = [warning.removeprefix(f"{file}: ") for warning in loaded.warnings]
    _print(_verdict(file, found))
    for problem in found.problems:
        print_error(f"{file}: {problem}")
    for warning in found.warnings:
        print_error(f"warning: {file}: {warning}")
    _print_what_runs(loaded.config, whose=_whose(loaded.config))
    for note in found.notes:
        _print(f"note: {note}")
    if is_verbose:
        print(f"\n{json.dumps(redacted(loaded.config), indent=2)}")
    return ConfigError.exit_status if found.problems else 0


def _owners_command(file: Path) -> list[str]:
    """Return a line with the command that checks a config for the agent of its owner; none unless root checks it."""
    try:
        owner = file.stat().st_uid
    except OSError:
        return []
    if os.geteuid() != ROOT or owner == ROOT:
        return []
    name, path = shlex.quote(user_name(owner)), shlex.quote(str(file))
    command = f"runuser -u {name} -- rainbowd check --config {path}"
    return [f"{file}: root checks it for an agent that runs as root; if the agent runs as {name}, use `{command}`"]


def _verdict(file: Path, found: Findings) -> str:
    warnings = _counted(len(found.warnings), "warning")
    if found.problems:
        return f"{file}: {_counted(len(found.problems), 'problem')}, {warnings}"
    return f"{file} is good: no problems found" + (f", {warnings}" if found.warnings else "")


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _print(line: str) -> None:
    """Print a line without control characters, which names of files and users can contain."""
    print(escape_control(line), flush=True)


def _as_this_user(config: Config) -> tuple[Config, list[str]]:
    """Return the config without an account that only root can switch to, and a warning that this is not checked."""
    try:
        find_account(config.user, config.group)
    except NeedsRoot:
        own = user_name(os.geteuid())
        warning = (
            f"this config needs an agent that runs as root, and {own} cannot check what root and {_whose(config)} can "
            "do; run this command as root"
        )
        return config.model_copy(update={"user": None, "group": None}), [warning]
    return config, []


def _whose(config: Config) -> str:
    """Return the name of the user that the app and the hooks run as."""
    user = os.geteuid() if config.user is None else config.user
    return user_name(user) if isinstance(user, int) else user


def _print_what_runs(config: Config, *, whose: str) -> None:
    _print(f"run, as {whose}: {_shown(config.run)}")
    _print(f"release: {os.path.realpath(config.release)}")
    _print(f"listen: {', '.join(map(str, config.listen))}")
    _print("may deploy:")
    for way, who in deployers(config).items():
        _print(f"  {way}: {who}")
    hooks = {hook: command for hook in HOOKS if (command := getattr(config.hooks, hook)) is not None}
    if hooks:
        _print(f"hooks, as {whose}:")
    for hook, command in hooks.items():
        _print(f"  {hook}: {_shown(command)}")


def _shown(command: str | tuple[str, ...]) -> str:
    return command if isinstance(command, str) else shlex.join(command)
