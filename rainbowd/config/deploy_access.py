"""Who may deploy, and what an agent that runs as root refuses to believe."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from rainbowd.config.account import ROOT, find_account
from rainbowd.config.exposure import is_published, token_directory
from rainbowd.errors import ConfigError
from rainbowd.permissions import Writers, entry_writers, foreign, writers

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.config.models import Config


def check_only_root_writes(path: Path, *, expected: str = "a file of root's") -> None:
    """Refuse, for an agent that runs as root, a file that others than root may write or replace.

    Nobody else can change what is read at ``path`` after this has returned: see ``permissions.foreign``.

    Args:
        path: of the file.
        expected: what it is, for the message if it is not there.

    Raises:
        ConfigError: others may, or there is no such file.
    """
    try:
        problems = foreign(path.absolute())
        if not problems:
            path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    if problems:
        raise ConfigError(*(f"{path}: {problem}" for problem in problems))


def deployers(config: Config) -> dict[str, Writers]:
    """Who may deploy, by the way in which they may; ways that do not exist are left out."""
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
            found[f"by turning the link {release}"] = entry_writers(release)
    return found


def cautions(config: Config) -> list[str]:
    """What is allowed but seldom meant, a line each; for ``check`` and for the start of an agent."""
    found = [f"everybody may deploy {way}" for way, who in deployers(config).items() if who.everybody]
    account = find_account(config.user, config.group)
    if os.geteuid() == ROOT and (account is None or account.uid == ROOT):
        found.append("the app runs as root, so whoever may deploy is root")
    if is_published(config.state_dir, config):
        found.append(
            f"state_dir: {config.state_dir} lies inside the release {config.release}: "
            "an app that serves its own directory would publish it"
        )
    if config.api.enabled and config.api.token_file is None and is_published(config.state_dir, config):
        place = token_directory(config)
        found.append(f"api: the token is in {place}, because the app may publish what is in state_dir")
    return found
