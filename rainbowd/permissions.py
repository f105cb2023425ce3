"""The accounts that can change the file that a path leads to.

An owner always can, because an owner can change the mode.  In a sticky directory (``/tmp``) everybody can create
entries, but only the owners of the entry and of the directory can replace one (rename(2), unlink(2)).

Only the standard library is used, because the commands that must start fast use this module too.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shlex
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = 0
_LINKS_MAX = 40
"""How many symlinks the kernel follows in one path: path_resolution(7)."""
_HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Writers:
    """The accounts that can write a file or directory.

    Attributes:
        owners: user names (numbers of users without a name).
        group: the name of the group that can write; None if the group cannot.
        members: the users of that group, whether it is their primary group or a supplementary one.
        everybody: whether every account can write.
        has_acl: whether an access control list may allow further accounts.
    """

    owners: tuple[str, ...]
    group: str | None = None
    members: tuple[str, ...] = ()
    everybody: bool = False
    has_acl: bool = False

    def __str__(self) -> str:
        """Return the accounts as one line for a message."""
        if self.everybody:
            return "everybody"
        group = f"group {self.group} ({', '.join(self.members) or 'no members'})"
        acl = "the accounts in its access control list (getfacl)"
        return ", ".join([*self.owners, *[group] * (self.group is not None), *[acl] * self.has_acl])


def writers(path: Path) -> Writers:
    """Return the accounts that can write the file ``path``, or change the entries of the directory ``path``.

    Raises:
        OSError: its status cannot be read.
    """
    status = path.stat()
    return _writers_by_mode(str(path), status)


def entry_writers(entry: Path) -> Writers:
    """Return the accounts that can create, replace or remove ``entry`` in its directory.

    Args:
        entry: a path, at which nothing needs to exist.

    Raises:
        OSError: the status of the directory cannot be read.
    """
    status = None
    with suppress(FileNotFoundError):
        status = entry.lstat()
    return _entry_writers(str(entry.parent), entry.parent.stat(), status)


def _entry_writers(directory: str, status: os.stat_result, entry: os.stat_result | None) -> Writers:
    if status.st_mode & stat.S_ISVTX and entry is not None:
        return Writers(tuple(dict.fromkeys((user_name(entry.st_uid), user_name(status.st_uid)))))
    return _writers_by_mode(directory, status)


def _writers_by_mode(path: str, status: os.stat_result) -> Writers:
    bits = _write_bits(status)
    can_group_write = bool(bits & stat.S_IWGRP)
    return Writers(
        owners=(user_name(status.st_uid),),
        group=_group_name(status.st_gid) if can_group_write else None,
        members=_members(status.st_gid) if can_group_write else (),
        everybody=bool(bits & stat.S_IWOTH),
        # With a list, the group's bits are a mask, the most that any entry of the list can give: acl(5).
        has_acl=can_group_write and has_acl(path),
    )


def _write_bits(status: os.stat_result) -> int:
    """Return the effective write bits: in a directory they have no effect without the search bit."""
    mode = status.st_mode
    return mode & (mode << 1) if stat.S_ISDIR(mode) else mode


def user_name(uid: int) -> str:
    """Return the name of the user ``uid``; the number if the user has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _members(gid: int) -> tuple[str, ...]:
    try:
        named = grp.getgrgid(gid).gr_mem
    except KeyError:
        named = []
    first = [user.pw_name for user in pwd.getpwall() if user.pw_gid == gid]
    return tuple(sorted({*named, *first}))


def has_acl(path: Path | str) -> bool:
    """Return whether ``path`` has an access control list in addition to its mode: acl(5)."""
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:  # none, or a file system without them
        return False


class WritableByOthers(NamedTuple):
    """A file or directory, part of a path, that accounts other than root can change.

    Attributes:
        name: for messages, such as ``the directory /srv``.
        path: of the file or directory.
        writers: the accounts that can change it.
    """

    name: str
    path: Path
    writers: Writers

    def __str__(self) -> str:
        """Return one line for a message, with the command that removes the problem."""
        path = shlex.quote(str(self.path))  # another account may have chosen the name, and root copies the command
        acl = f"setfacl -b {path} && " if self.writers.has_acl else ""
        return (
            f"found {self.name} that may be written by {self.writers}; expected one that only root may write, because "
            f"the agent runs as root (`{acl}chown root:root {path} && chmod go-w {path}` makes it so)"
        )


def find_writable_by_others(path: Path, *, end: bool = True) -> list[WritableByOthers]:
    """Return every part of ``path`` through which accounts other than root can change the file it leads to.

    Every directory in the path is checked, and every symlink together with the directories in its target.  Each step
    starts from the directory that was checked before, which is held open.  If nothing is found, only root can change
    the path, so a file that is opened by it afterwards is the file that was checked.

    Args:
        path: absolute; if its end is missing, the directory in which it would be created is checked.
        end: False for a socket, which is made again at each start: then its directory must belong to root alone, even
            if it is sticky, because another account could use the name first.

    Raises:
        OSError: a step is not possible: a loop of symlinks, or something that is not a directory.
    """
    found: dict[str, WritableByOthers] = {}
    for name, part, who in _steps(path, end=end):
        if includes_others(who):
            found.setdefault(name, WritableByOthers(name, part, who))
    return list(found.values())


def _steps(path: Path, *, end: bool) -> Iterator[tuple[str, Path, Writers]]:
    """Yield each part that decides where ``path`` leads: its name, its path and the accounts that can change it."""
    remaining, links = list(reversed(path.parts[1:])), 0
    with _OpenDirectory() as current:
        while remaining:
            name = remaining.pop()
            if name == "..":
                current.enter(name)
                continue
            directory, status = current.status(), current.entry_status(name)
            is_end_of_socket = not remaining and not end
            if is_end_of_socket or status is not None or not directory.st_mode & stat.S_ISVTX:  # else checked once made
                who = _entry_writers(current.name, directory, None if is_end_of_socket else status)
                yield f"the directory {current.path}", current.path, who
            if status is None:
                return
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                target = Path(os.readlink(name, dir_fd=current.fd))
                if target.is_absolute():
                    current.restart()
                remaining += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            elif remaining:
                current.enter(name)
            elif end:
                yield from _end(current, name)


def _end(current: _OpenDirectory, name: str) -> Iterator[tuple[str, Path, Writers]]:
    """Yield the file or directory at the end of a path, after all links."""
    path = current.path / name
    with current.opened(name) as fd:
        status = os.fstat(fd)
        description = f"the directory {path}" if stat.S_ISDIR(status.st_mode) else "a file"
        yield description, path, _writers_by_mode(_by_descriptor(fd), status)


class _OpenDirectory:
    """The directory that a walk along a path has reached, held open, so that nobody can replace it meanwhile.

    Attributes:
        fd: its descriptor.
        path: the path by which it was reached, without symlinks.
    """

    def __init__(self) -> None:
        self.path = Path("/")
        self.fd = os.open("/", _HOLD | os.O_DIRECTORY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    @property
    def name(self) -> str:
        """A path that leads to the directory itself: proc(5), fd."""
        return _by_descriptor(self.fd)

    def status(self) -> os.stat_result:
        return os.fstat(self.fd)

    def entry_status(self, name: str) -> os.stat_result | None:
        """Return the status of an entry, without following it; None if it is missing."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def enter(self, name: str) -> None:
        fd = os.open(name, _HOLD | os.O_DIRECTORY, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = fd
        self.path = self.path.parent if name == ".." else self.path / name

    def restart(self) -> None:
        """Go back to the root directory."""
        os.close(self.fd)
        self.fd, self.path = os.open("/", _HOLD | os.O_DIRECTORY), Path("/")

    @contextmanager
    def opened(self, name: str) -> Iterator[int]:
        fd = os.open(name, _HOLD, dir_fd=self.fd)
        try:
            yield fd
        finally:
            os.close(fd)


def _by_descriptor(fd: int) -> str:
    return f"/proc/self/fd/{fd}"


def includes_others(who: Writers) -> bool:
    """Return whether ``who`` includes accounts other than root."""
    users = {*who.owners, *who.members}
    # A group other than root's may be a service's own, even if no user is known to be in it.
    groups = {who.group} - {None, _group_name(ROOT)}
    return who.everybody or who.has_acl or bool(groups) or users != {user_name(ROOT)}
