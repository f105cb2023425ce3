"""The accounts that can deploy, and the check that only root can write the files of an agent that runs as root."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from rainbowd.config.account import ROOT, find_account
from rainbowd.config.api_exposure import is_published, token_directory
from rainbowd.config.path_checks import unix_sockets
from rainbowd.errors import ConfigError
from rainbowd.permissions import Writers, entry_writers, find_writable_by_others, writers

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.config.models import Config


def check_only_root_writes(path: Path, *, expected: str = "a file of root's") -> None:
    """Raise an error if accounts other than root can write or replace a file; for an agent that runs as root.

    If this returns, no other account can change the content that is read at ``path``: see ``find_writable_by_others``.

    Args:
        path: of the file.
        expected: a description of the file, for the error if it cannot be read.

    Raises:
        ConfigError: other accounts can change it, or it cannot be read.
    """
    try:
        problems = find_writable_by_others(path.absolute())
        if not problems:
            path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    if problems:
        raise ConfigError(*(f"{path}: {problem}" for problem in problems))


def deployers(config: Config) -> dict[str, Writers]:
    """Return the accounts that can deploy, by the way in which they do; only ways that the config allows."""
    found: dict[str, Writers] = {}
    trigger, release = config.trigger_file, config.release
    with suppress(OSError):
        if trigger is not None and trigger.is_file() and not trigger.is_symlink():
            found[f"by writing {trigger}"] = writers(trigger)
    with suppress(OSError):
        if trigger is not None:
            found[f"by putting {trigger.name} into {trigger.parent}"] = entry_writers(trigger)
    with suppress(OSError):
        if release.is_symlink():
            found[f"by switching the symlink {release}"] = entry_writers(release)
    return found


def _can_everybody_create(path: Path) -> bool:
    try:
        return writers(path.parent).everybody
    except OSError:  # the start reports it
        return False


def cautions(config: Config) -> list[str]:
    """Return warnings about settings that are allowed but seldom intended, a line each."""
    found = [f"everybody can deploy {way}" for way, who in deployers(config).items() if who.everybody]
    account = find_account(config.user, config.group)
    if os.geteuid() == ROOT and (account is None or account.uid == ROOT):
        found.append("the app runs as root, so anyone who can deploy can run code as root")
    for key, path in unix_sockets(config):
        if _can_everybody_create(path):
            found.append(
                f"{key}: everybody can create a socket at {path} while the agent is stopped, and receive its requests; "
                f"use a directory that only the agent's account can write, such as one in /run"
            )
    if is_published(config.state_dir, config):
        found.append(
            f"state_dir: {config.state_dir} is inside the release {config.release}: "
            "an app that serves its own directory would publish it"
        )
    if config.api.enabled and config.api.token_file is None and is_published(config.state_dir, config):
        place = token_directory(config)
        found.append(f"api: the token is in {place}, because the app could publish the files in state_dir")
    return found
