"""Removes what an app has left in its directory, whatever that is: deep trees, many files, odd permissions.

The app chooses what is there, so nothing here may depend on how deep, how wide or how closed it is.  A directory that
is found inside another one is moved to the top before it is emptied.  The tree that is worked on is therefore never
deeper than two levels: there is no recursion, no path gets too long, and no list of the entries is kept.
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
"""For one tree: a process that outlived its generation may go on making files."""

_FULL_ACCESS = stat.S_IRWXU
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def remove_tree(directory: Path) -> None:
    """Remove ``directory`` and all that is in it; no symlink is followed and no other file system entered.

    It takes as long as there are files, so call it in a thread.

    Args:
        directory: one whose parent only the agent may write; nothing there is fine too.

    Raises:
        OSError: something could not be removed; all else is gone.
    """
    try:
        with _opened(directory, None) as top:
            refusal = _empty(top, os.fstat(top).st_dev)
    except FileNotFoundError:
        return
    except NotADirectoryError:  # never made by us, but it has to go
        directory.unlink(missing_ok=True)
        return
    if refusal is not None:
        raise refusal
    directory.rmdir()


def _empty(top: int, device: int) -> OSError | None:
    """Empty the directory ``top``; returns why something in it could not be removed.

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
                with _noting(refusals):
                    is_gone = _remove(top, entry)
                    has_changed |= is_gone or _flatten(top, entry.name, device, refusals)
        if not has_changed:
            return refusals[0] if refusals else None


def _remove(directory: int, entry: os.DirEntry[str]) -> bool:
    """Remove a file or an empty directory; returns whether it is gone."""
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.name, dir_fd=directory)
        return True
    with suppress(OSError):  # it is not empty, as a rule
        os.rmdir(entry.name, dir_fd=directory)
        return True
    return False


def _flatten(top: int, name: str, device: int, refusals: list[OSError]) -> bool:
    """Remove the files of the directory ``name`` and move its directories to ``top``; returns whether any was there."""
    has_changed = False
    with _opened(name, top, device) as directory, os.scandir(directory) as entries:
        for entry in entries:
            with _noting(refusals):
                if not _remove(directory, entry):
                    _lift(directory, entry.name, top)
                has_changed = True
    return has_changed


@contextmanager
def _noting(refusals: list[OSError]) -> Iterator[None]:
    """Note the first error of a pass, so that the rest of it goes on; what is gone already is none."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        refusals[:] = refusals or [error]


def _lift(directory: int, name: str, top: int) -> None:
    """Move the directory ``name`` to ``top``, where its name is another and short."""
    try:
        os.rename(name, secrets.token_hex(8), src_dir_fd=directory, dst_dir_fd=top)
    except PermissionError:  # rename(2): to be moved it has to be writable itself
        with _opened(name, directory):
            os.rename(name, secrets.token_hex(8), src_dir_fd=directory, dst_dir_fd=top)


@contextmanager
def _opened(name: Path | str, above: int | None, device: int | None = None) -> Iterator[int]:
    """The directory ``name``, open for reading, with full access for its owner.

    Args:
        name: relative to ``above``.
        above: a descriptor, or None for a whole path.
        device: the one that it has to be on; a file system that is mounted there is not ours to empty.

    Raises:
        OSError: it is no directory, is on another device, or may not be opened.
    """
    place = os.open(name, _LOOK, dir_fd=above)
    try:
        status = os.fstat(place)
        if device not in {None, status.st_dev}:
            raise OSError(errno.EXDEV, "another file system is mounted there", str(name))
        this = f"/proc/self/fd/{place}"  # the descriptor itself, never what is at the path by now
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
