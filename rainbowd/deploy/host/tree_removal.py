"""Removing an app's directory, whatever it contains: deep trees, many files, odd permissions.

The app chooses the content, so the work must not depend on its depth, number of entries or modes.  A directory inside
another one is moved to the top before it is emptied.  So the tree is never deeper than two levels: there is no
recursion, no path gets too long, and no list of entries is kept.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_SECONDS = 600.0
"""How long to work on one tree: a process that outlived its generation may still create files."""

_FULL_ACCESS = stat.S_IRWXU
_OPEN_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def remove_tree(directory: Path) -> None:
    """Remove ``directory`` and its content, without following symlinks or entering other file systems.

    The time depends on the number of files, so call it in a thread.

    Args:
        directory: in a directory that only the agent can write; it need not exist.

    Raises:
        OSError: something cannot be removed; all else is removed.
    """
    try:
        with _opened(directory, None) as top:
            refusal = _empty(top, os.fstat(top).st_dev)
    except FileNotFoundError:
        return
    except NotADirectoryError:  # not created by the agent, but it must go
        directory.unlink(missing_ok=True)
        return
    if refusal is not None:
        raise refusal
    directory.rmdir()


def _empty(top: int, device: int) -> OSError | None:
    """Empty the directory ``top``; return why something in it could not be removed, or None.

    Each pass removes or flattens every entry that it sees, so it is repeated as long as that makes a difference.

    Raises:
        TimeoutError: something makes new files as fast as they are removed.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        refusals: list[OSError] = []
        has_changed = False
        with os.scandir(top) as entries:
            for entry in entries:
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), entry.name)
                with _collecting(refusals):
                    is_gone = _remove(top, entry)
                    has_changed |= is_gone or _flatten(top, entry.name, device, refusals)
        if not has_changed:
            return refusals[0] if refusals else None


def _remove(directory: int, entry: os.DirEntry[str]) -> bool:
    """Remove a file or an empty directory; return whether it was removed."""
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.name, dir_fd=directory)
        return True
    with suppress(OSError):  # it is not empty, as a rule
        os.rmdir(entry.name, dir_fd=directory)
        return True
    return False


def _flatten(top: int, name: str, device: int, refusals: list[OSError]) -> bool:
    """Remove the files of the directory ``name`` and move its directories to ``top``; return whether there were any."""
    has_changed = False
    with _opened(name, top, device) as directory, os.scandir(directory) as entries:
        for entry in entries:
            with _collecting(refusals):
                if not _remove(directory, entry):
                    _lift(directory, entry.name, top)
                has_changed = True
    return has_changed


@contextmanager
def _collecting(refusals: list[OSError]) -> Iterator[None]:
    """Store the first error of a pass, so that the pass continues; a file that is already gone is not an error."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        refusals[:] = refusals or [error]


def _lift(directory: int, name: str, top: int) -> None:
    """Move the directory ``name`` to ``top``, with another, short name."""
    try:
        os.rename(name, secrets.token_hex(8), src_dir_fd=directory, dst_dir_fd=top)
    except PermissionError:  # rename(2): it must be writable itself to be moved
        with _opened(name, directory):
            os.rename(name, secrets.token_hex(8), src_dir_fd=directory, dst_dir_fd=top)


@contextmanager
def _opened(name: Path | str, above: int | None, device: int | None = None) -> Iterator[int]:
    """Open the directory ``name`` for reading, with full access for its owner.

    Args:
        name: relative to ``above``.
        above: a descriptor, or None for a whole path.
        device: that it must be on; a file system that is mounted there must not be emptied.

    Raises:
        OSError: it is not a directory, is on another device, or cannot be opened.
    """
    place = os.open(name, _OPEN_PATH, dir_fd=above)
    try:
        status = os.fstat(place)
        if device not in {None, status.st_dev}:
            raise OSError(errno.EXDEV, "another file system is mounted there", str(name))
        this = f"/proc/self/fd/{place}"  # the descriptor itself, because the path may lead elsewhere by now
        if status.st_mode & _FULL_ACCESS != _FULL_ACCESS:
            with suppress(PermissionError):
                os.chmod(this, _FULL_ACCESS)  # noqa: PTH101
        opened = os.open(this, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(place)
    try:
        yield opened
    finally:
        os.close(opened)
