"""The programs of hooks, for an agent that runs as root: what others may change, root is not to start.

A list names its program.  A string's program is the shell; where it would run as root, what its first word names
is judged too, as far as that is plain.  As another user it can do no more than the release, which runs as that
user anyway.
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

HOOKS = ("before_launch", "after_live", "after_failure")
RELEASE = "{release}"

_FIRST_WORD = re.compile(r"\s*(?:[A-Za-z_]\w*=[\w./:+-]*\s+)*(?:exec\s+)?([\w./+][\w./+-]*)(?=[\s;&|]|\Z)")


def first_word(command: str) -> str | None:
    """The program of a shell's command, behind assignments and ``exec``, where it is plain."""
    found = _FIRST_WORD.match(command)
    return found[1] if found else None


def check_file_permissions(file: Path, config: Config) -> None:
    """At a start as root, refuse what others than root may write; what is missing is for the deploy to say.

    Raises:
        ConfigError: others may write the config file, the env file or a hook's program.
    """
    if os.geteuid() != ROOT:
        return
    check_only_root_writes(file)
    variables: dict[str, str] = {}
    if config.env_file is not None and config.env_file.exists():
        check_only_root_writes(config.env_file)
        with suppress(ConfigError):  # broken, which the deploy says
            variables = read_env_file(config.env_file)
    check_hook_permissions(config, config.release.resolve(), {**os.environ, **config.env, **variables})


def check_hook_permissions(config: Config, release: Path, env: Mapping[str, str], hooks: Sequence[str] = HOOKS) -> None:
    """Refuse hooks whose program, or its interpreter, others than root may write; where we are not root, none.

    Args:
        config: with the hooks.
        release: the resolved directory that they run in; ``{release}`` in a program is this one.
        env: with the ``PATH`` that counts; ``{release}`` in it is filled in.
        hooks: which of them.

    Raises:
        ConfigError: others may; each program is named.
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
        except DeployFailed:  # what is not there is said when the hook is to run
            continue
    return problems


def _programs(config: Config, command: str | tuple[str, ...] | None) -> list[str]:
    """What a hook would start, as far as that can be told."""
    if command is None:
        return []
    if not isinstance(command, str):
        return [command[0]]
    account = find_account(config.user, config.group)
    word = first_word(command) if account is None or account.uid == ROOT else None
    return ["sh", *([word] if word else [])]
