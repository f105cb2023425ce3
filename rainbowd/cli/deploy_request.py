"""The request for a deploy, made through files alone: the trigger file first, then the release link."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rainbowd import release_link
from rainbowd.cli.agent_files import require_trusted_config
from rainbowd.errors import Unwritable, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.config_paths import ConfigPaths
    from rainbowd.release_link import LinkChange

LINE_BYTES = 1024
"""How many bytes of a trigger file an agent reads."""

NEW_FILE_MODE = 0o664
WRITE_BITS = 0o222
READABLE = 0o444
"""The agent, which may be another user, reads the file, and copies its content into the journal at once."""

Stamp = tuple[int, int, int]
"""The device, inode and mtime of a file, which change if the file is replaced or written."""


class DeployRequest(NamedTuple):
    """The deploy that a command requests.

    Attributes:
        id: the id by which the command finds its deploy in the journal.
        note: a remark of the deployer.
        release: an absolute, resolved path; None for the release that the link names.
        is_rollback: the deploy is a rollback to ``release``.
        is_now: the deploy skips canary and bake.
    """

    id: str
    note: str | None
    release: Path | None
    is_rollback: bool = False
    is_now: bool = False


def check_request(paths: ConfigPaths, request: DeployRequest) -> None:
    """Check that the trigger file and the link can be written, before anything is changed.

    Args:
        paths: the paths of the config.
        request: the deploy to request.

    Raises:
        UsageError: one of them cannot be written, or another account chose them for a command of root's.
    """
    require_trusted_config(paths.config_file, "deploy")
    if paths.trigger_file is not None:
        check_writable(paths.trigger_file)
    elif request.release is None and not paths.release.is_symlink():
        raise UsageError(
            f"cannot request a deploy: trigger_file is off, and {paths.release} is not a symlink; "
            f"set trigger_file, or release to a symlink"
        )
    if request.release is None and paths.trigger_file is not None:
        return
    if os.path.lexists(paths.release):
        release_link.require_symlink(paths.release)
    directory = paths.release.parent
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        raise UsageError(f"release: cannot switch {paths.release}: you have no permission to write to {directory}")


def write_request(file: Path, line: bytes, request_id: str) -> Stamp:
    """Write a request into a file that the agent watches, and return the stamp of the file.

    The file is replaced, so that it belongs to the user who makes the request, and an agent reads all of it or nothing.
    If this user may write only the file and not its directory, the file is overwritten.

    Args:
        file: the trigger file, or the file that requests restarts.
        line: the request.
        request_id: its id, which no other request has.

    Raises:
        UsageError: this user cannot write the file.
    """
    try:
        try:
            return _replace(file, line, request_id)
        except PermissionError:
            return _overwrite(file, line)
    except OSError as error:
        raise _unwritable(file, error) from None


class TriggerFile:
    """The trigger file that contains a request; see ``write_request``.

    Args:
        file: the path; None if the trigger file is turned off: then ``write`` does nothing.
        request: the deploy to request.
    """

    def __init__(self, file: Path | None, request: DeployRequest) -> None:
        self._file = file
        self._request = request
        self._written: Stamp | None = None

    def write(self) -> None:
        """Write the request into the file.

        Raises:
            UsageError: this user cannot write the file.
        """
        if self._file is not None:
            self._written = write_request(self._file, encode(self._request), self._request.id)

    def is_unchanged(self) -> bool:
        """Return whether the file is as it was written; True if that cannot be known."""
        if self._file is None:
            return True
        try:
            return _stamp(self._file.lstat()) == self._written
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True


def switch_link(paths: ConfigPaths, request: DeployRequest) -> LinkChange | None:
    """Switch the link to the requested release; without a trigger file, to the same release again.

    Returns:
        The change, so that it can be undone; None if the link was left alone.

    Raises:
        UsageError: this user cannot switch the link.
    """
    if request.release is not None:
        return release_link.repoint(paths.release, request.release)
    if paths.trigger_file is None:
        return release_link.repoint(paths.release, paths.release.resolve())
    return None


def encode(request: DeployRequest) -> bytes:
    """Return a request as the line of a trigger file; a note that does not fit is shortened."""
    fields: dict[str, object] = {"request": request.id}
    if request.is_rollback:
        fields["rollback"] = True
    if request.is_now:
        fields["now"] = True
    if request.release is not None:
        fields["release"] = str(request.release)
        if len(_json(fields)) > LINE_BYTES:  # a path of nearly 1000 bytes: the switch of the link requests the deploy
            del fields["release"]
    note = fitting_note(request.note, LINE_BYTES - len(_json({**fields, "note": ""})))
    return _json({**fields, "note": note} if note else fields)


def is_shortened(request: DeployRequest) -> bool:
    """Return whether the note of a request does not fit into the trigger file."""
    return bool(request.note) and json.loads(encode(request)).get("note") != request.note


def fitting_note(note: str | None, room_bytes: int) -> str:
    """Return the beginning of a note that takes at most ``room_bytes`` bytes inside of a JSON string."""
    kept = (note or "")[:room_bytes]
    while len(_json(kept)) - len(_json("")) > room_bytes:
        kept = kept[:-1]
    return kept


def _json(value: object) -> bytes:
    """Return JSON in UTF-8; in ASCII if a name is not UTF-8, so that its surrogate escapes are kept."""
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"


def check_writable(trigger_file: Path) -> None:
    """Check that a request can be written into a file, before anything is changed.

    Raises:
        UsageError: it cannot, or the file is not a regular one.
    """
    try:
        mode = trigger_file.lstat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as error:
        raise _unwritable(trigger_file, error) from None
    if not stat.S_ISREG(mode):
        found = "a directory" if stat.S_ISDIR(mode) else "a symlink" if stat.S_ISLNK(mode) else "a special file"
        raise UsageError(f"trigger_file: {trigger_file}: found {found}; expected a regular file, or no file")
    directory = trigger_file.parent
    if not directory.is_dir():
        raise UsageError(f"trigger_file: {trigger_file}: found no directory {directory}; expected it to exist")
    can_replace = os.access(directory, os.W_OK | os.X_OK, effective_ids=True)
    if not can_replace and not os.access(trigger_file, os.W_OK, effective_ids=True):
        raise UsageError(f"trigger_file: {trigger_file}: you have no permission to write to the file or its directory")


def _replace(trigger_file: Path, line: bytes, suffix: str) -> Stamp:
    new_file = trigger_file.with_name(f".{trigger_file.name}.{suffix}")
    fd = os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, NEW_FILE_MODE)
    try:
        _copy_access(fd, trigger_file)
        stamp = _write(fd, line)
        new_file.replace(trigger_file)
    except OSError:
        new_file.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    return stamp


def _copy_access(fd: int, trigger_file: Path) -> None:
    """Allow the accounts that could write the old file to write the new one.

    Only the write bits are copied. Anyone who may write to the directory chose the old file, and with its set-user-ID
    bit the new file would be a program of this user that others can fill.
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
    """Overwrite the trigger file, unless somebody put a link to another file in its place.

    Raises:
        OSError: as open(2), or the file is not a regular file, or has more than one name.
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
