"""The release link: reading it, pointing it to another release, and restoring it.

The commands and the agent share this module.  Only the standard library is used, so that the commands start fast.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.errors import Unwritable, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class LinkChange(NamedTuple):
    """A change that this process made to a link.

    Attributes:
        link: its path.
        before: its target before the change, as written; None if it did not exist.
        stamp: the inode and the mtime (ns) of the new link; another link in its place has others.
        before_mtime_ns: the mtime of the link before the change; None if it did not exist.
    """

    link: Path
    before: str | None
    stamp: tuple[int, int]
    before_mtime_ns: int | None = None


def require_symlink(link: Path) -> None:
    """Check that ``link`` is a symlink, which can be pointed to another release.

    Raises:
        UsageError: it does not exist, or is something else.
    """
    if not link.is_symlink():
        found = "a directory" if link.is_dir() else "no symlink"
        raise UsageError(f"release: {link}: found {found}; expected a symlink, which can be pointed at another release")


def repoint(link: Path, release: Path) -> LinkChange:
    """Point ``link`` to ``release``, atomically.

    An existing link stays relative or absolute.  A new one is relative if the release is below its directory, so that
    the directory can be moved as a whole.

    Args:
        link: a symlink, or a path at which nothing exists.
        release: the directory, absolute and resolved.

    Returns:
        The change, which ``restore`` can undo.

    Raises:
        UsageError: something else exists at ``link``, or it cannot be replaced.
    """
    before, stamp_before = read(link), _stamp(link)
    if before is None and os.path.lexists(link):
        require_symlink(link)
    directory = link.parent.resolve()
    is_relative = release.is_relative_to(directory) if before is None else not os.path.isabs(before)  # noqa: PTH117
    target = os.path.relpath(release, directory) if is_relative else str(release)
    return LinkChange(link, before, _replace(link, target), stamp_before[1] if stamp_before else None)


def restore(change: LinkChange) -> bool:
    """Undo a change, unless the link did not exist before it or someone has changed the link since.

    The link gets its old mtime again, by which the agent sees that nobody has requested a deploy of that release.

    Args:
        change: as ``repoint`` returned it.

    Returns:
        Whether the link was restored.

    Raises:
        UsageError: the link cannot be replaced.
    """
    link, before, stamp, before_mtime_ns = change
    if before is None or _stamp(link) != stamp:
        return False
    _replace(link, before, before_mtime_ns)
    return True


def read(link: Path) -> str | None:
    """Return the target of a symlink, as written; None if ``link`` is not a symlink."""
    try:
        return os.readlink(link)  # noqa: PTH115 - as written, not as pathlib puts it
    except OSError:
        return None


def _replace(link: Path, target: str, mtime_ns: int | None = None) -> tuple[int, int]:
    """Replace ``link`` by a symlink to ``target`` with the mtime ``mtime_ns``; return the stamp of the new link."""
    temporary = link.with_name(f".{link.name}.{os.urandom(4).hex()}")
    try:
        temporary.symlink_to(target)
        try:
            if mtime_ns is not None:
                os.utime(temporary, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
            stamp = _stamp(temporary)
            temporary.replace(link)
        except OSError:
            temporary.unlink()
            raise
    except OSError as error:
        raise Unwritable(f"release: cannot switch the link {link}", error) from None
    assert stamp is not None
    return stamp


def _stamp(link: Path) -> tuple[int, int] | None:
    """Return the inode and the mtime (ns) of the link itself; None if nothing exists there."""
    try:
        status = link.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
