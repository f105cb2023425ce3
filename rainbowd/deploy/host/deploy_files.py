"""The files that a deployer changes: the config, its env file, the release link and the trigger file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.config import load, read_env_file, restart_needed
from rainbowd.deploy.host.directory_identity import directory_identity
from rainbowd.deploy.host.hook_permissions import check_hook_permissions
from rainbowd.deploy.launch_plan import LaunchPlan
from rainbowd.deploy.watch.file_state import observe, resolve_release
from rainbowd.errors import ConfigError, DeployFailed
from rainbowd.log import get_logger

if TYPE_CHECKING:
    from rainbowd.config import LoadedConfig
    from rainbowd.deploy.watch.file_state import FileState

log = get_logger()


class DeployFiles:
    """The files of one app, which are read again at each call.

    Args:
        file: the config file.
        loaded: its content at the start, whose paths of the other files stay in effect.
    """

    def __init__(self, file: Path, loaded: LoadedConfig) -> None:
        self._file = file
        self._loaded = loaded

    def named_release(self) -> Path | None:
        """Return the release that the files name, resolved, or the target of a dangling link; None without a link."""
        release = self._loaded.config.release
        try:
            return Path(os.path.realpath(release, strict=True))
        except OSError:
            with contextlib.suppress(OSError):  # not a link, or no longer one
                return Path(os.readlink(release))  # noqa: PTH115 - as written
        return None

    def file_state(self) -> FileState | None:
        """Return the present state of the files; None if it cannot be read."""
        try:
            return observe(self._loaded.config.release, self._loaded.config.trigger_file)
        except OSError:
            return None

    def release_exists(self, release: Path) -> bool:
        """Return whether ``release`` is a directory now."""
        return release.is_dir()

    def directory_identity(self, release: Path) -> list[int] | None:
        """Return what distinguishes the directory ``release`` from a later one of the same name; None if missing."""
        return directory_identity(release)

    def launch_plan(self, release: Path | None = None) -> LaunchPlan:
        """Read the config and the release that the files name.

        Args:
            release: to launch instead of the release that the files name.

        Raises:
            DeployFailed: the config is broken, the release is missing or dangles.
        """
        try:
            loaded = self._read_config()
            config = loaded.config
            env_file = read_env_file(config.env_file) if config.env_file is not None else {}
            release = resolve_release(release or self._loaded.config.release)
            check_hook_permissions(config, release, {**os.environ, **config.env, **env_file})
        except ConfigError as error:
            raise DeployFailed("; ".join(error.problems)) from None
        return LaunchPlan(release, config, env_file, loaded.source)

    def _read_config(self) -> LoadedConfig:
        loaded = load(self._file)
        config = loaded.config
        for key in restart_needed(self._loaded.config, config):
            log.warning("a change in the config is without effect until a restart", key=key)
        return loaded
