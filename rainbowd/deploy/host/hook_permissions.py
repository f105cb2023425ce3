"""The permissions of hook programs, for an agent that runs as root: root must not run a file that others can change.

A hook that is a list names its program.  The program of a string is the shell; if it would run as root, the program
that its first word names is checked too, if that is clear.  A hook that runs as another user can do no more than the
release, which runs as that user anyway.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from rainbowd.config import check_only_root_writes, find_account, read_env_file
from rainbowd.config.account import ROOT
from rainbowd.deploy.host.programs import find_command
from rainbowd.errors import ConfigError, DeployFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rainbowd.config import Config

HOOKS = ("before_launch", "after_live", "after_failure", "fetch")
RELEASE = "{release}"

_FIRST_WORD = re.compile(r"\s*(?:[A-Za-z_]\w*=[\w./:+-]*\s+)*(?:exec\s+)?([\w./+][\w./+-]*)(?=[\s;&|]|\Z)")


def first_word(command: str) -> str | None:
    """Return the program of a shell command, after assignments and ``exec``; None if it is not clear."""
    found = _FIRST_WORD.match(command)
    return found[1] if found else None


def check_file_permissions(file: Path, config: Config) -> None:
    """At a start as root, reject files that others can write; missing files are reported by the deploy.

    Args:
        file: the config file.
        config: its content.

    Raises:
        ConfigError: others may write the config file, the env file or a hook's program.
    """
    if os.geteuid() != ROOT:
        return
    check_only_root_writes(file)
    variables: dict[str, str] = {}
    if config.env_file is not None and config.env_file.exists():
        check_only_root_writes(config.env_file)
        with suppress(ConfigError):  # the deploy reports what is wrong with it
            variables = read_env_file(config.env_file)
    check_hook_permissions(config, config.release.resolve(), {**os.environ, **config.env, **variables})


def check_hook_permissions(config: Config, release: Path, env: Mapping[str, str], hooks: Sequence[str] = HOOKS) -> None:
    """Reject hooks whose program or interpreter others than root can write; only if the agent runs as root.

    Args:
        config: contains the hooks.
        release: the resolved directory that they run in; ``{release}`` in a program is this one.
        env: with the ``PATH`` that counts; ``{release}`` in it is filled in.
        hooks: which of them.

    Raises:
        ConfigError: others can write one; each program is named.
    """
    if os.geteuid() != ROOT:
        return
    problems = [problem for hook in hooks for problem in _problems(config, hook, release, env)]
    if problems:
        raise ConfigError(*problems)


def _problems(config: Config, hook: str, release: Path, env: Mapping[str, str]) -> list[str]:
    problems: list[str] = []
    path = {"PATH": env["PATH"].replace(RELEASE, str(release))} if "PATH" in env else {}
    for name in _programs(config, getattr(config.hooks, hook)):
        try:
            for file in find_command([name.replace(RELEASE, str(release))], path, release, key=f"hooks.{hook}"):
                check_only_root_writes(file)
        except ConfigError as error:
            problems += [f"hooks.{hook}: {problem}" for problem in error.problems]
        except DeployFailed:  # a missing program is reported when the hook runs
            continue
    return problems


def _programs(config: Config, command: str | tuple[str, ...] | None) -> list[str]:
    """Return the programs that a hook would start, as far as they are clear."""
    if command is None:
        return []
    if not isinstance(command, str):
        return [command[0]]
    account = find_account(config.user, config.group)
    word = first_word(command) if account is None or account.uid == ROOT else None
    return ["sh", *([word] if word else [])]
