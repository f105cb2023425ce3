"""The check that this process can write the files that the config names; it creates nothing."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from rainbowd.errors import ConfigError
from rainbowd.permissions import user_name


def check_app_log(file: Path, app: Path | str | None) -> None:
    """Raise an error if the app's log file cannot be written.

    Args:
        file: the config file.
        app: the value of ``log.app``.

    Raises:
        ConfigError: its directory is missing, or this user cannot write it.
    """
    problems = app_log_problems(app) if isinstance(app, Path) else []
    if problems:
        raise ConfigError(*(f"{file}: {problem}" for problem in problems))


def app_log_problems(app: Path) -> list[str]:
    """Return the reasons why the app's log file cannot be written, a line each.

    Args:
        app: the file, which may not exist yet.
    """
    if is_directory(app):
        return [f"log.app: found {app}, which is a directory; expected a file"]
    if not is_directory(app.parent):
        return [f"log.app: found no directory {app.parent}; expected one, because rainbowd makes only the file"]
    return not_writable("log.app", app, "a file that the agent's user may write")


def not_writable(key: str, path: Path, expected: str) -> list[str]:
    """Return why nothing can be written at ``path``, or created in the nearest directory above it.

    Args:
        key: the key that names the path.
        path: the file or directory, which may not exist yet.
        expected: the end of the message.
    """
    there = nearest(path)
    wanted = os.W_OK | (os.X_OK if is_directory(there) else 0)
    if os.access(there, wanted, effective_ids=True):
        return []
    return [
        f"{key}: found {there}, where {user_name(os.geteuid())} cannot write ({_reason(there)}); expected {expected}"
    ]


def nearest(path: Path) -> Path:
    """Return ``path``, or the directory above it that exists."""
    return next((place for place in (path, *path.parents) if os.path.lexists(place)), path)


def is_directory(path: Path) -> bool:
    """Return whether a path leads to a directory; False if a directory above it is closed to this user."""
    return os.path.isdir(path)  # noqa: PTH112 - that of pathlib raises when a directory above is closed


def _reason(path: Path) -> str:
    with suppress(OSError):
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return os.strerror(errno.EROFS)
    return os.strerror(errno.EACCES)
