"""The runtime directory, for a secret that would be published if it were in the state directory.

As in ssh-agent and podman, this is the runtime directory of the service or of the session.  If there is none, it is a
directory in /tmp, which is used only if it belongs to our user and is closed to others.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = 0
_PRIVATE = 0o700
_TMP = Path("/tmp")  # noqa: S108 - its entry is checked before it is used
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def find_runtime_dir(state_dir: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the directory for the secrets of an agent: always the same for a state directory; None if none is safe.

    Args:
        state_dir: of the agent; the directory's name is made from it.
        environ: with RUNTIME_DIRECTORY (systemd.exec(5)) and XDG_RUNTIME_DIR.
    """
    real = os.path.realpath(state_dir)
    name = f"{Path(real).parent.name or 'app'}-{hashlib.sha256(os.fsencode(real)).hexdigest()[:12]}"
    return next((base / "rainbowd" / name for base in _bases(environ) if _is_ours(base)), _in_tmp(name))


def make_private(directory: Path) -> None:
    """Create ``directory`` and its parent, accessible to this user only, unless they exist.

    Args:
        directory: as ``find_runtime_dir`` returned it.

    Raises:
        OSError: one of them cannot be made, belongs to another user, or is open to others.
    """
    for path in (directory.parent, directory):
        with suppress(FileExistsError):
            path.mkdir(mode=_PRIVATE)
        fd = os.open(path, _OPEN)
        try:
            if os.fstat(fd).st_uid != os.geteuid():
                raise PermissionError(1, "it belongs to another user", str(path))
            os.fchmod(fd, _PRIVATE)
        finally:
            os.close(fd)


def _bases(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the possible runtime directories, the most specific first."""
    for given in (environ.get("RUNTIME_DIRECTORY", "").partition(":")[0], environ.get("XDG_RUNTIME_DIR", "")):
        if given.startswith("/"):
            yield Path(given)
    yield Path("/run") if os.geteuid() == ROOT else Path(f"/run/user/{os.geteuid()}")


def _in_tmp(name: str) -> Path | None:
    """Return a directory in /tmp, where only its owner can replace it; None if another user made it first."""
    try:
        tmp = _TMP.stat()
    except OSError:
        return None
    base = _TMP / f"rainbowd-{os.geteuid()}"
    is_safe = tmp.st_uid == ROOT and tmp.st_mode & stat.S_ISVTX
    return base / name if is_safe and (_is_ours(base) or not os.path.lexists(base)) else None


def _is_ours(directory: Path) -> bool:
    """Return whether it is a directory of our user that nobody else can write."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    is_directory = stat.S_ISDIR(status.st_mode)
    return is_directory and status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
