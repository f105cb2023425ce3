"""The checks that no deploy moves the agent's own files, and that only root can change those of a root agent."""

from __future__ import annotations

import os
import re
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.address import UnixAddress
from rainbowd.config.account import ROOT
from rainbowd.config.api_exposure import is_published
from rainbowd.errors import ConfigError
from rainbowd.permissions import WritableByOthers, find_writable_by_others, includes_others, writers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rainbowd.config.models import Config

SYSTEM_STATE = Path("/var/lib/rainbowd")
"""The parent of the state directories of root's agents, each named like the directory of its config."""

_DIRECTORY_OF_APP = re.compile(r"generation-[0-9]+(?:-[A-Za-z0-9][\w-]*\.[0-9]+-[0-9a-f]{8})?", re.ASCII)
"""Directories of an app or a companion process belong to its account, and nothing in them is trusted."""


def check_paths(file: Path, config: Config) -> None:
    """Raise an error if the agent's own files would move with a release, or other accounts could change them.

    Args:
        file: the config file.
        config: its content.

    Raises:
        ConfigError: with every problem, a line each.
    """
    problems = path_problems(file, config)
    if problems:
        raise ConfigError(*(f"{file}: {problem}" for problem in problems))


def path_problems(file: Path, config: Config) -> list[str]:
    """Return the reasons why the agent's own files cannot be at the paths that ``config`` names, a line each."""
    found = [*_moved_by_deploys(file, config), *_published(config), *_irregular(config)]
    if os.geteuid() == ROOT:
        found += _open_to_others(file, config)
    return found


def check_state_dir(file: Path, state_dir: Path) -> None:
    """Raise an error if other accounts can change the state directory, which exists; for an agent that runs as root.

    Args:
        file: the config file.
        state_dir: the directory.

    Raises:
        ConfigError: with every problem, a line each.
    """
    problems = [] if os.geteuid() != ROOT else list(_open_state(file, state_dir))
    if problems:
        raise ConfigError(*(f"{file}: {problem}" for problem in problems))


def system_state_dir(file: Path) -> Path:
    """Return the usual state directory of an agent that runs as root.

    Args:
        file: the config file.
    """
    return SYSTEM_STATE / (Path(os.path.realpath(file)).parent.name or "app")


def unix_sockets(config: Config) -> list[tuple[str, Path]]:
    """Return the paths of the Unix sockets that the agent itself opens, each with the key that names it."""
    addresses = [] if "LISTEN_FDS" in os.environ else [("listen", address) for address in config.listen]
    if config.api.enabled:
        addresses.append(("api.listen", config.api.listen))
    return [(key, address.path) for key, address in addresses if isinstance(address, UnixAddress)]


def _own_paths(file: Path, config: Config) -> dict[str, tuple[Path, Path]]:
    """Return the agent's own files by the key that names them, each with a path that it could have instead."""
    shared = Path(os.path.realpath(config.release.parent))
    state = system_state_dir(file) if os.geteuid() == ROOT else shared / ".rainbowd"
    found = {"state_dir": (config.state_dir, state)}
    if config.trigger_file is not None:
        found["trigger_file"] = config.trigger_file, shared / "redeploy.trigger"
    if config.maintenance is not None and config.maintenance.file is not None:
        found["maintenance.file"] = config.maintenance.file, shared / "rainbowd.maintenance"
    if config.pause_file is not None:
        found["pause_file"] = config.pause_file, shared / "rainbowd.pause"
    if isinstance(config.log.app, Path):
        found["log.app"] = config.log.app, shared / "app.log"
    if config.api.token_file is not None:
        found["api.token_file"] = config.api.token_file, state / "token"
    if config.fleet is not None:
        found |= {f"fleet.{key}": (path, shared / path.name) for key, path in config.fleet.trusted_files.items()}
    return found


def _moved_by_deploys(file: Path, config: Config) -> Iterator[str]:
    """Yield a line for each file in a release: the link will leave it, and a deploy tool will remove it."""
    if not config.release.is_symlink():
        return
    for key, (path, instead) in _own_paths(file, config).items():
        if is_published(path, config):
            yield (
                f"{key}: found {path}, which is inside the release that {config.release} points to, so each deploy "
                f"moves it; expected a path outside the releases, such as {instead}"
            )


def _published(config: Config) -> Iterator[str]:
    """Yield a line for each secret of the fleet in a release that is no link: the app could publish it."""
    if config.fleet is None or config.release.is_symlink():
        return
    for key, path in config.fleet.secret_files.items():
        if is_published(path, config):
            yield (
                f"fleet.{key}: found {path} inside the release {config.release}, which the app could publish; "
                "expected a file elsewhere"
            )


def _irregular(config: Config) -> Iterator[str]:
    """Yield a line if the app's log file is a pipe or a device: the output would go to whatever reads it."""
    app = config.log.app
    if isinstance(app, Path) and app.exists() and not app.is_file():
        yield f'log.app: found {app}, which is not a regular file; expected one, "stdout", or null'


def _open_to_others(file: Path, config: Config) -> Iterator[str]:
    """Yield a line for each file that root writes or trusts and that other accounts could change."""
    yield from _open_state(file, config.state_dir)
    if isinstance(config.log.app, Path):
        yield from _foreign("log.app", config.log.app)
    if config.api.enabled and config.api.token_file is not None and config.api.token_file.exists():
        yield from _foreign("api.token_file", config.api.token_file)
    if config.fleet is not None:
        for key, path in config.fleet.trusted_files.items():
            if path.exists():
                yield from _foreign(f"fleet.{key}", path)
    for key, path in unix_sockets(config):
        yield from _foreign(key, path, end=False)


def _open_state(file: Path, state_dir: Path) -> Iterator[str]:
    for problem in _foreign("state_dir", state_dir):
        yield f"{problem}; or set state_dir to {system_state_dir(file)}"
    yield from _foreign_entries(state_dir)


def _foreign(key: str, path: Path, *, end: bool = True) -> Iterator[str]:
    try:
        for problem in find_writable_by_others(path, end=end):
            yield f"{key}: {path}: {problem}"
    except OSError as error:
        yield f"{key}: {path}: cannot be checked ({error.strerror})"


def _foreign_entries(state_dir: Path) -> Iterator[str]:
    """Yield a line for each entry of the directory that other accounts made, or can change."""
    try:
        entries = sorted(state_dir.iterdir())
    except OSError:  # it does not exist yet, or another check reports it
        return
    for entry in entries:
        mode = entry.lstat().st_mode
        is_apps = stat.S_ISDIR(mode) and _DIRECTORY_OF_APP.fullmatch(entry.name)
        if is_apps or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):  # nothing that is trusted is read from these
            continue
        if stat.S_ISLNK(mode):
            yield f"state_dir: found the symlink {entry}; expected a file (`rm {shlex.quote(str(entry))}` removes it)"
        elif includes_others(who := writers(entry)):
            yield f"state_dir: {WritableByOthers(str(entry), entry, who)}"
