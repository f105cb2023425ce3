"""The path of the config file, and the paths in it: the release, the trigger file and the state directory.

The commands that talk to a running agent read only these; the agent validates the rest of the config.  Only the
standard library is used, so that those commands start fast.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from rainbowd.errors import ConfigError
from rainbowd.json_file import format_value, read_json

CONFIG_NAME = "rainbowd.json"
LEGACY_CONFIG_NAME = "rainbow.conf.json"
CONFIG_VARIABLE = "RAINBOWD_CONFIG"
"""The environment variable that names the config file for every command, unless ``--config`` is given."""

DEFAULT_RELEASE = "."
DEFAULT_TRIGGER_FILE = "redeploy.trigger"
DEFAULT_STATE_DIR = ".rainbowd"
DEFAULT_MAINTENANCE_FILE = "rainbowd.maintenance"
DEFAULT_PAUSE_FILE = "rainbowd.pause"

RESTART_SUFFIX = ".restart"
"""Ends the name of the file that requests restarts of companion processes; it begins like the trigger file's."""

EXPECTED_PATH = "a path, neither empty nor with a NUL in it"


class ConfigPaths(NamedTuple):
    """The paths that the config file names; all are absolute, and their symlinks are not resolved.

    Attributes:
        config_file: the file that was read.
        release: the app's directory or a symlink to it.
        trigger_file: the file that is touched to deploy; None if that is turned off.
        state_dir: the directory in which the agent writes its status and journal.
        maintenance_file, pause_file: the files that put the site into maintenance, and that hold its requests; None if
            they are turned off.
    """

    config_file: Path
    release: Path
    trigger_file: Path | None
    state_dir: Path
    maintenance_file: Path | None = None
    pause_file: Path | None = None

    @property
    def restart_file(self) -> Path | None:
        """The file that requests restarts of companion processes; None if the trigger file is turned off."""
        return None if self.trigger_file is None else restart_file_of(self.trigger_file)


def restart_file_of(trigger_file: Path) -> Path:
    """Return the path of the file that requests restarts of companion processes.

    It is another file than the trigger file, so that neither request can replace the other before the agent sees it.
    """
    return trigger_file.with_name(trigger_file.name + RESTART_SUFFIX)


def named_config(given: Path | None) -> Path | None:
    """Return the config file that ``--config`` or RAINBOWD_CONFIG names, in this order; None if neither does.

    Args:
        given: the value of ``--config``; None if it was not given.
    """
    return given or (Path(name) if (name := os.environ.get(CONFIG_VARIABLE)) else None)


def find_config(given: Path | None) -> Path:
    """Return the config file to use: the file that is named, otherwise the one in the working directory.

    Args:
        given: the value of ``--config``; None if it was not given.

    Raises:
        ConfigError: no file is named, and the working directory contains none.
    """
    named = named_config(given)
    if named is not None:
        return named
    for name in (CONFIG_NAME, LEGACY_CONFIG_NAME):
        if Path(name).is_file():
            return Path(name)
    raise ConfigError(
        f"{CONFIG_NAME}: found no such file in {Path.cwd()}; "
        f"expected it there (or {LEGACY_CONFIG_NAME}), or --config FILE; `rainbowd init` writes one"
    )


def read_config_paths(config_file: Path) -> ConfigPaths:
    """Read only the paths of ``ConfigPaths`` from a config file.

    Args:
        config_file: the file, relative to the working directory or absolute.

    Raises:
        ConfigError: the file cannot be read, is not JSON, or one of them is not a path.
    """
    data = read_json(config_file)
    file = lasting_path(config_file)
    base = real_directory(file)

    def read_path(key: str, value: object) -> Path:
        try:
            return absolute_path(value, file.parent if key == "release" else base)
        except ValueError:
            raise ConfigError(f"{config_file}: {key}: found {format_value(value)}; expected {EXPECTED_PATH}") from None

    def read_path_or_off(key: str, value: object) -> Path | None:
        return None if value is None else read_path(key, value)

    maintenance = data.get("maintenance", {})
    maintenance = maintenance if isinstance(maintenance, dict) else {"file": None}
    return ConfigPaths(
        config_file=file,
        release=read_path("release", data.get("release", DEFAULT_RELEASE)),
        trigger_file=read_path_or_off("trigger_file", data.get("trigger_file", DEFAULT_TRIGGER_FILE)),
        state_dir=read_path("state_dir", data.get("state_dir", DEFAULT_STATE_DIR)),
        maintenance_file=read_path_or_off("maintenance.file", maintenance.get("file", DEFAULT_MAINTENANCE_FILE)),
        pause_file=read_path_or_off("pause_file", data.get("pause_file", DEFAULT_PAUSE_FILE)),
    )


def lasting_path(config_file: Path) -> Path:
    """Return an absolute path of a config file that stays valid when old releases are removed.

    The path contains no ``..``, which might lead through a directory that is removed.  A symlink to the file's
    directory stays in the path: through ``current/rainbowd.json``, each release brings its own config.

    Args:
        config_file: the file, relative to the working directory or absolute.
    """
    file = config_file.absolute()
    ups = [index for index, part in enumerate(file.parts) if part == ".."]
    if not ups:
        return file
    last = ups[-1] + 1
    return Path(os.path.realpath(Path(*file.parts[:last])), *file.parts[last:])


def real_directory(config_file: Path) -> Path:
    """Return the directory of ``config_file`` without symlinks: the base of all relative paths except ``release``.

    ``release`` alone is relative to the directory as it is written, which may be the link that a deploy switches.
    """
    return Path(os.path.realpath(config_file.absolute().parent))


def absolute_path(value: object, base: Path) -> Path:
    """Return a path of the config file as an absolute path.

    A leading ``..`` is resolved here, so that the path does not lead through ``base`` if that is a release.

    Args:
        value: the value of the key.
        base: the directory that relative paths start from.

    Raises:
        ValueError: ``value`` is not a path.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    path = Path(value)
    if path.parts[:1] != ("..",):
        return base / path
    directory, rest = Path(os.path.realpath(base)), list(path.parts)
    while rest[:1] == [".."]:
        directory = directory.parent
        del rest[0]
    return directory.joinpath(*rest)
