"""The release link: which directory a deployer's words mean, turning the link there, and turning it back.

For the commands, which start as fast as Python does, and for the agent; the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.errors import Unwritable, UsageError

if TYPE_CHECKING:
    from pathlib import Path


SHOWN_MAX = 5
"""How many releases a message names."""


class LinkChange(NamedTuple):
    """A link that we turned.

    Attributes:
        link: its path.
        before: what it said until then; None where there was none.
        stamp: by which it is known to be ours still.
        before_mtime_ns: when the link before it was made.
    """

    link: Path
    before: str | None
    stamp: tuple[int, int]
    before_mtime_ns: int | None = None


def find_release(words: str, base: Path, present: Path | None) -> Path:
    """The directory that ``words`` mean, resolved.

    Args:
        words: a path relative to ``base``, or the bare name of a sibling of the present release.
        base: a directory.
        present: the live release; while nothing is live, the one that the link names; None where there is neither.

    Raises:
        UsageError: there is no such directory.
    """
    if not words or "\0" in words:
        raise UsageError("the release has to be a name or a path")
    tried = [base / words]
    if present is not None and "/" not in words and words not in {".", ".."}:
        tried.insert(0, present.parent / words)
    for path in tried:
        with contextlib.suppress(OSError):
            if path.is_dir():
                return path.resolve(strict=True)
    named = ", nor ".join(dict.fromkeys(map(str, tried)))
    raise UsageError(f"no such release: {words}: found no directory {named}{_siblings(present)}")


def _siblings(present: Path | None) -> str:
    """Return which releases there are, for a message: the newest, as far as they can be seen."""
    try:
        found = [entry for entry in present.parent.iterdir() if entry.is_dir()] if present is not None else []
        found.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    except OSError:
        return ""
    names = [entry.name for entry in found if not entry.name.startswith(".")]
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return f"; there are {', '.join(names[:SHOWN_MAX])}{more}" if names else ""


def require_symlink(link: Path) -> None:
    """See that ``link`` can be turned.

    Raises:
        UsageError: it is no symlink.
    """
    if not link.is_symlink():
        found = "a directory" if link.is_dir() else "no symlink"
        raise UsageError(f"release: {link}: found {found}; expected a symlink, which can be pointed at another release")


def repoint(link: Path, release: Path) -> LinkChange:
    """Turn ``link`` to ``release``, atomically; it stays relative where it was.

    Args:
        link: a symlink, or nothing.
        release: absolute and resolved.

    Raises:
        UsageError: there is something else, or it may not be replaced.
    """
    before, stamp_before = read(link), _stamp(link)
    if before is None and os.path.lexists(link):
        require_symlink(link)
    is_relative = before is not None and not os.path.isabs(before)  # noqa: PTH117 - as written
    target = os.path.relpath(release, link.parent.resolve()) if is_relative else str(release)
    return LinkChange(link, before, _replace(link, target), stamp_before[1] if stamp_before else None)


def restore(turned: LinkChange) -> bool:
    """Undo a turn, unless somebody has changed the link since; whether it was undone.

    The link gets its old mtime too: by that the agent knows it from one that somebody points there anew.

    Raises:
        UsageError: it may not be replaced any more.
    """
    link, before, stamp, before_mtime_ns = turned
    if before is None or _stamp(link) != stamp:
        return False
    _replace(link, before, before_mtime_ns)
    return True


def read(link: Path) -> str | None:
    """What a symlink says; None where there is none."""
    try:
        return os.readlink(link)  # noqa: PTH115 - as written, not as pathlib puts it
    except OSError:
        return None


def _replace(link: Path, target: str, mtime_ns: int | None = None) -> tuple[int, int]:
    """Put a symlink to ``target``, made at ``mtime_ns``, in the place of ``link``; the stamp that it has there."""
    beside = link.with_name(f".{link.name}.{os.urandom(4).hex()}")
    try:
        beside.symlink_to(target)
        try:
            if mtime_ns is not None:
                os.utime(beside, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
            stamp = _stamp(beside)
            beside.replace(link)
        except OSError:
            beside.unlink()
            raise
    except OSError as error:
        raise Unwritable(f"release: {link} cannot be turned", error) from None
    assert stamp is not None
    return stamp


def _stamp(link: Path) -> tuple[int, int] | None:
    """The link's own inode and mtime: another link in its place has others."""
    try:
        status = link.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
