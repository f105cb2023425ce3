"""Asking an agent for a deploy, by the files alone: the trigger file first, then the turn of the link."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rainbowd import release_link
from rainbowd.errors import Unwritable, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.locations import Locations
    from rainbowd.release_link import LinkChange

LINE_BYTES = 1024
"""What an agent reads of a trigger file."""

NEW_FILE_MODE = 0o664
WRITE_BITS = 0o222
READABLE = 0o444
"""The agent, which may be another user, reads it; what it says is in the journal at once."""

Stamp = tuple[int, int, int]
"""The device, the inode and the mtime of a file: another in its place, or what is written to it, has others."""


class DeployRequest(NamedTuple):
    """What one command asks for.

    Attributes:
        id: by which its deploy is found in the journal.
        note: the deployer's words.
        release: absolute and resolved; None for what the link names.
        is_rollback: it goes back to ``release``.
    """

    id: str
    note: str | None
    release: Path | None
    is_rollback: bool = False


def check_request(locations: Locations, request: DeployRequest) -> None:
    """See, before anything is touched, that the trigger file and the link can be what they are to be.

    Raises:
        UsageError: one of them cannot.
    """
    if locations.trigger_file is not None:
        _refuse_trigger(locations.trigger_file)
    elif request.release is None and not locations.release.is_symlink():
        raise UsageError(
            f"trigger_file is off, and {locations.release} is no symlink that could be turned; expected one of them"
        )
    if request.release is None and locations.trigger_file is not None:
        return
    if os.path.lexists(locations.release):
        release_link.require_symlink(locations.release)
    directory = locations.release.parent
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        raise UsageError(f"release: {locations.release} cannot be turned: {directory} is not writable for you")


class TriggerFile:
    """The trigger file, with a request in it.

    It is replaced, so that its owner is whoever asks, and an agent sees all of it or nothing.  Where only the file may
    be written and not its directory, it is overwritten.

    Args:
        file: None where that is off: then nothing is written, and always there.
        request: what is asked for.
    """

    def __init__(self, file: Path | None, request: DeployRequest) -> None:
        self._file = file
        self._request = request
        self._written: Stamp | None = None

    def write(self) -> None:
        """Put the request there.

        Raises:
            UsageError: it may not be.
        """
        if self._file is None:
            return
        line = encode(self._request)
        try:
            try:
                self._written = _replace(self._file, line, self._request.id)
            except PermissionError:
                self._written = _overwrite(self._file, line)
        except OSError as error:
            raise _unwritable(self._file, error) from None

    def is_unchanged(self) -> bool:
        """Whether it is as it was written, or at least nobody can tell otherwise."""
        if self._file is None:
            return True
        try:
            return _stamp(self._file.lstat()) == self._written
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True


def turn(locations: Locations, request: DeployRequest) -> LinkChange | None:
    """Turn the link if the request is for that, or there is no other way to ask.

    Raises:
        UsageError: it may not be turned.
    """
    if request.release is not None:
        return release_link.repoint(locations.release, request.release)
    if locations.trigger_file is None:
        return release_link.repoint(locations.release, locations.release.resolve())
    return None


def encode(request: DeployRequest) -> bytes:
    """The line of the trigger file; a note that does not fit is cut short."""
    fields: dict[str, object] = {"request": request.id}
    if request.is_rollback:
        fields["rollback"] = True
    if request.release is not None:
        fields["release"] = str(request.release)
        if len(_json(fields)) > LINE_BYTES:  # a path of nearly a thousand bytes: its turn is then a request of its own
            del fields["release"]
    note = fitting_note(request.note, LINE_BYTES - len(_json({**fields, "note": ""})))
    return _json({**fields, "note": note} if note else fields)


def is_shortened(request: DeployRequest) -> bool:
    """Whether the note does not fit."""
    return bool(request.note) and json.loads(encode(request)).get("note") != request.note


def fitting_note(note: str | None, room_bytes: int) -> str:
    """As much of a note as takes no more than ``room_bytes`` inside of a JSON string."""
    kept = (note or "")[:room_bytes]
    while len(_json(kept)) - len(_json("")) > room_bytes:
        kept = kept[:-1]
    return kept


def _json(value: object) -> bytes:
    """In UTF-8, or in ASCII where a name is not UTF-8, which so passes unharmed, as Python has it."""
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"


def _refuse_trigger(trigger_file: Path) -> None:
    try:
        mode = trigger_file.lstat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as error:
        raise _unwritable(trigger_file, error) from None
    if not stat.S_ISREG(mode):
        found = "a directory" if stat.S_ISDIR(mode) else "a symlink" if stat.S_ISLNK(mode) else "no regular file"
        raise UsageError(f"trigger_file: {trigger_file}: found {found}; expected a file, or nothing there")
    directory = trigger_file.parent
    if not directory.is_dir():
        raise UsageError(f"trigger_file: {trigger_file}: there is no directory {directory}")
    may_replace = os.access(directory, os.W_OK | os.X_OK, effective_ids=True)
    if not may_replace and not os.access(trigger_file, os.W_OK, effective_ids=True):
        raise UsageError(f"trigger_file: {trigger_file}: neither it nor its directory is writable for you")


def _replace(trigger_file: Path, line: bytes, suffix: str) -> Stamp:
    beside = trigger_file.with_name(f".{trigger_file.name}.{suffix}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, NEW_FILE_MODE)
    try:
        _admit_the_same(fd, trigger_file)
        stamp = _write(fd, line)
        beside.replace(trigger_file)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    return stamp


def _admit_the_same(fd: int, trigger_file: Path) -> None:
    """Let the accounts write the new file that may write the old one.

    The mode is set, not copied: anyone who may write the directory chose the old file, and a set-user-ID bit of it
    would make the new file a program of ours that others can fill.
    """
    write_bits = stat.S_IMODE(os.fstat(fd).st_mode) & WRITE_BITS
    with suppress(FileNotFoundError):
        old = trigger_file.lstat()
        if stat.S_ISREG(old.st_mode):
            write_bits = old.st_mode & WRITE_BITS
            with suppress(PermissionError):
                os.fchown(fd, -1, old.st_gid)
    os.fchmod(fd, stat.S_IWUSR | READABLE | write_bits)


def _overwrite(trigger_file: Path, line: bytes) -> Stamp:
    """Overwrite the file itself, and no other file that somebody linked in its place.

    Raises:
        OSError: as open(2), or it is not a regular file with this one name.
    """
    fd = os.open(trigger_file, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(trigger_file))
        os.ftruncate(fd, 0)
        return _write(fd, line)
    finally:
        os.close(fd)


def _write(fd: int, line: bytes) -> Stamp:
    os.write(fd, line)
    return _stamp(os.fstat(fd))


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _unwritable(trigger_file: Path, error: OSError) -> Unwritable:
    return Unwritable(f"trigger_file: {trigger_file}: cannot be written", error)
