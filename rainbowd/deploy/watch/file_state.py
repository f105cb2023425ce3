"""The state of the release link and the trigger file, and the changes between two states.

A change is a difference between two ``FileState``s, never an event, so no change can be lost or counted twice.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.deploy.watch.regular_file import read_regular_file
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Collection

NOTE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class TriggerNote:
    """The first line of a trigger file.

    Attributes:
        note: the deployer's words.
        request: by which the requester recognises its own deploy.
        release: to which the link is about to be pointed, as written.
        is_rollback: whether it requests a rollback to that release.
        is_now: whether it requests to skip canary and bake.
    """

    note: str | None = None
    request: str | None = None
    release: str | None = None
    is_rollback: bool = False
    is_now: bool = False


@dataclass(frozen=True, slots=True)
class Stamp:
    """The attributes that show that a file is new or modified; not the ctime, which a chmod changes too."""

    inode: int
    mtime_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of both files at one moment.

    Attributes:
        release: the directory that the release path leads to; None if it leads to none.
        problem: why it leads to none.
        link: the release path's own stamp; None if it is not a symlink.
        link_owner, trigger_owner: user ids.
        trigger: the trigger file's own stamp and, if it is a symlink, also its target's, which is what
            touch(1) touches.
    """

    release: Path | None
    problem: str | None = field(compare=False)
    link: Stamp | None
    link_owner: int | None
    trigger: tuple[Stamp, ...]
    trigger_owner: int | None


# --- reading ------------------------------------------------------------------------------------------------


def observe(release: Path, trigger_file: Path | None) -> FileState:
    """Return the present state of both files; a missing file is part of the state.

    The link is read first: ``rainbowd deploy`` writes its note before it changes the link, so that a new link is never
    observed without the note.

    Args:
        release: the release path, not resolved.
        trigger_file: None if it is turned off.

    Raises:
        OSError: a file cannot be read, so that it is unknown whether it changed.
    """
    link = _lstat(release)
    if link is not None and not stat.S_ISLNK(link.st_mode):
        link = None
    resolved, problem = _resolved(release)
    trigger = None if trigger_file is None else _lstat(trigger_file)
    return FileState(
        release=resolved,
        problem=problem,
        link=None if link is None else _stamp(link),
        link_owner=None if link is None else link.st_uid,
        trigger=() if trigger is None or trigger_file is None else _stamps(trigger_file, trigger),
        trigger_owner=None if trigger is None else trigger.st_uid,
    )


def resolve_release(release: Path) -> Path:
    """Return the directory that ``release`` leads to now, without symlinks.

    Raises:
        DeployFailed: it leads to none; the reason names the missing file.
    """
    try:
        resolved = Path(os.path.realpath(release, strict=True))
        is_directory = resolved.is_dir()
    except OSError as error:
        raise DeployFailed(_why_unresolved(release, error)) from None
    if not is_directory:
        raise DeployFailed(f"the release {_named(release)} is not a directory")
    if not os.access(resolved, os.X_OK, effective_ids=True):
        raise DeployFailed(f"the release {_named(release)} cannot be entered: permission denied")
    return resolved


def read_note(trigger_file: Path) -> TriggerNote:
    """Return the first line of a trigger file, at most 1 KiB; an empty note if it cannot be read safely."""
    return parse_note(read_regular_file(trigger_file, NOTE_BYTES) or b"")


def parse_note(data: bytes) -> TriggerNote:
    """Parse the beginning of a trigger file: free text, or the JSON that ``rainbowd deploy`` writes."""
    line = data.partition(b"\n")[0].decode(errors="backslashreplace").strip()
    try:
        fields = json.loads(line) if line.startswith("{") else None
    except (ValueError, RecursionError):
        fields = None
    if fields is None:
        return TriggerNote(note=escaped(line) or None)
    texts = {name: text for name, text in fields.items() if isinstance(text, str) and text}
    release = texts.get("release")
    return TriggerNote(
        note=escaped(texts.get("note", "")) or None,
        request=escaped(texts.get("request", "")) or None,
        release=None if release is None or "\0" in release else release,
        is_rollback=fields.get("rollback") is True,
        is_now=fields.get("now") is True,
    )


def watched_directories(
    release: Path, trigger_file: Path | None, others: Collection[Path] = ()
) -> dict[Path, tuple[int, int]]:
    """Return the directories to watch that exist, with the device and inode of each.

    They are the parents, because a watch on a link or file itself ends when that is replaced.  A release that is a
    plain directory is not watched.

    Args:
        release: the release path, not resolved.
        trigger_file: None if it is turned off.
        others: directories of other files.

    Raises:
        OSError: the status of one cannot be read.
    """
    parents = set(others) if trigger_file is None else {trigger_file.parent, *others}
    if release.is_symlink() or not release.is_dir():
        parents.add(release.parent)
    found = ((parent, _stat(parent)) for parent in sorted(parents))
    return {
        parent: (status.st_dev, status.st_ino)
        for parent, status in found
        if status is not None and stat.S_ISDIR(status.st_mode)
    }


# --- comparing ----------------------------------------------------------------------------------------------


def link_changed(seen: FileState, now: FileState) -> bool:
    """Return whether the link has changed, was created again, or its release appeared or disappeared."""
    return not _plain_directory_is_away(seen, now) and (seen.link, seen.release) != (now.link, now.release)


def trigger_touched(seen: FileState, now: FileState) -> bool:
    """Return whether the trigger file is new or modified; its removal does not request a deploy."""
    return bool(set(now.trigger) - set(seen.trigger))


def is_transient(seen: FileState, now: FileState) -> bool:
    """Return whether ``now`` is a state that rarely lasts.

    There is no release between ``rm`` and ``ln``, and the trigger file is empty while ``command >file`` runs.
    """
    return now.release is None or (trigger_touched(seen, now) and _size_bytes(seen) > _size_bytes(now) == 0)


def baseline(seen: FileState, now: FileState) -> FileState:
    """Return the state to compare with next: ``now``, or the old release if that is a plain directory that is away."""
    return with_link_of(seen, now) if _plain_directory_is_away(seen, now) else now


def with_link_of(seen: FileState, now: FileState) -> FileState:
    """Return ``now`` with the release as it was in ``seen``."""
    return replace(now, release=seen.release, problem=seen.problem, link=seen.link, link_owner=seen.link_owner)


def _size_bytes(state: FileState) -> int:
    return state.trigger[-1].size_bytes if state.trigger else 0


def _plain_directory_is_away(seen: FileState, now: FileState) -> bool:
    return seen.link is None and now.link is None and now.release is None


# --- parts --------------------------------------------------------------------------------------------------


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_size)


def _stamps(path: Path, own: os.stat_result) -> tuple[Stamp, ...]:
    target = _stat(path) if stat.S_ISLNK(own.st_mode) else None
    return (_stamp(own),) if target is None else (_stamp(own), _stamp(target))


def _resolved(release: Path) -> tuple[Path | None, str | None]:
    try:
        return resolve_release(release), None
    except DeployFailed as failure:
        return None, failure.reason


def _why_unresolved(release: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return f"the release {_named(release)} leads back to itself"
    if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
        return f"the release {_named(release)} cannot be reached: {error.strerror} ({error.filename})"
    if not os.path.islink(release):  # noqa: PTH114 - pathlib's raises if this one returns False
        return f"the release {release} does not exist"
    return f"the release {_named(release)} is a dangling link: {error.filename} does not exist"


def _named(release: Path) -> str:
    """Return the path and, if it is a link, its target as written."""
    try:
        return f"{release} -> {os.readlink(release)}"  # noqa: PTH115 - as written, not as pathlib puts it
    except OSError:
        return str(release)


def escaped(text: str) -> str:
    """Return ``text`` with every control character written as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
