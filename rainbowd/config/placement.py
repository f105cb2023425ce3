"""Where the agent's own files may be: where no deploy moves them, and where only root may change those of root."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.address import UnixAddress
from rainbowd.config.account import ROOT
from rainbowd.config.exposure import is_published
from rainbowd.errors import ConfigError
from rainbowd.permissions import Foreign, foreign, is_foreign, writers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rainbowd.config.models import Config

SYSTEM_STATE = Path("/var/lib/rainbowd")
"""Where root keeps the state directories of its agents, each with the name of its config's directory."""

_DIRECTORY_OF_APP = re.compile(r"generation-[0-9]+")
"""The one kind of entry that is the app's own: it is never believed."""


def refuse_misplaced(file: Path, config: Config) -> None:
    """Refuse a config by which the agent's own files would move with a release, or could be changed by others.

    Args:
        file: the config file.
        config: what it says.

    Raises:
        ConfigError: with every problem, a line each.
    """
    problems = misplaced(file, config)
    if problems:
        raise ConfigError(*(f"{file}: {problem}" for problem in problems))


def misplaced(file: Path, config: Config) -> list[str]:
    """Return why the agent's own files may not be where ``config`` has them, a line each."""
    found = [*_moving(file, config), *_irregular(config)]
    if os.geteuid() == ROOT:
        found += _open_to_others(file, config)
    return found


def refuse_foreign_state(file: Path, state_dir: Path) -> None:
    """Refuse, for an agent that runs as root, a state directory that others may change; it is there by now.

    Raises:
        ConfigError: with every problem, a line each.
    """
    problems = [] if os.geteuid() != ROOT else list(_open_state(file, state_dir))
    if problems:
        raise ConfigError(*(f"{file}: {problem}" for problem in problems))


def system_state_dir(file: Path) -> Path:
    """Return the state directory that an agent run as root has by custom.

    Args:
        file: the config file.
    """
    return SYSTEM_STATE / (Path(os.path.realpath(file)).parent.name or "app")


def _own_paths(file: Path, config: Config) -> dict[str, tuple[Path, Path]]:
    """Return the agent's own files by the key that names them, each with a place where it could be instead."""
    shared = Path(os.path.realpath(config.release.parent))
    state = system_state_dir(file) if os.geteuid() == ROOT else shared / ".rainbowd"
    found = {"state_dir": (config.state_dir, state)}
    if config.trigger_file is not None:
        found["trigger_file"] = config.trigger_file, shared / "redeploy.trigger"
    if isinstance(config.log.app, Path):
        found["log.app"] = config.log.app, shared / "app.log"
    if config.api.token_file is not None:
        found["api.token_file"] = config.api.token_file, state / "token"
    return found


def _moving(file: Path, config: Config) -> Iterator[str]:
    """Yield what lies in a release that the link can leave, and that is pruned some day."""
    if not config.release.is_symlink():
        return
    for key, (path, instead) in _own_paths(file, config).items():
        if is_published(path, config):
            yield (
                f"{key}: found {path}, which lies in the release that the link {config.release} names and so moves "
                f"with the link; expected a place outside the releases, such as {instead}"
            )


def _irregular(config: Config) -> Iterator[str]:
    """Yield a file to append to that is none: the app's lines would go wherever a pipe or device leads."""
    app = config.log.app
    if isinstance(app, Path) and app.exists() and not app.is_file():
        yield f'log.app: found {app}, which is no regular file; expected one, "stdout", or null'


def _open_to_others(file: Path, config: Config) -> Iterator[str]:
    """Yield what others than root could change and have root write to or believe."""
    yield from _open_state(file, config.state_dir)
    if isinstance(config.log.app, Path):
        yield from _foreign("log.app", config.log.app)
    if config.api.enabled and config.api.token_file is not None and config.api.token_file.exists():
        yield from _foreign("api.token_file", config.api.token_file)
    if "LISTEN_FDS" not in os.environ:
        for address in config.listen:
            if isinstance(address, UnixAddress):
                yield from _foreign("listen", address.path, end=False)
    if config.api.enabled and isinstance(config.api.listen, UnixAddress):
        yield from _foreign("api.listen", config.api.listen.path, end=False)


def _open_state(file: Path, state_dir: Path) -> Iterator[str]:
    for problem in _foreign("state_dir", state_dir):
        yield f"{problem}; or set state_dir to {system_state_dir(file)}"
    yield from _foreign_entries(state_dir)


def _foreign(key: str, path: Path, *, end: bool = True) -> Iterator[str]:
    try:
        for problem in foreign(path, end=end):
            yield f"{key}: {path}: {problem}"
    except OSError as error:
        yield f"{key}: {path}: cannot be looked at ({error.strerror})"


def _foreign_entries(state_dir: Path) -> Iterator[str]:
    """Yield what others left in the directory while they might, or may still write."""
    try:
        entries = sorted(state_dir.iterdir())
    except OSError:  # it is not there yet, or that is said elsewhere
        return
    for entry in entries:
        mode = entry.lstat().st_mode
        is_apps = stat.S_ISDIR(mode) and _DIRECTORY_OF_APP.fullmatch(entry.name)
        if is_apps or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):  # which nothing is read from that would be believed
            continue
        if stat.S_ISLNK(mode):
            yield f"state_dir: found the symlink {entry}; expected a file (`rm {entry}` removes it)"
        elif is_foreign(who := writers(entry)):
            yield f"state_dir: {Foreign(str(entry), entry, who)}"
