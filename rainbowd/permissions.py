"""Which accounts may change what a path leads to.

An owner always may, since an owner can change the mode.  A sticky directory (``/tmp``) lets everybody make
new entries, but only an entry's owner and the directory's replace one (rename(2), unlink(2)).

The standard library alone: the commands that have to be fast, and the listeners, need it too.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = 0
_LINKS_MAX = 40
"""As many symlinks as the kernel follows on one way: path_resolution(7)."""
_HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Writers:
    """Those who may write something.

    Attributes:
        owners: user names (numbers where there is no name).
        group: the name of the group that may, if it may.
        members: that group's users, whether it is their first group or one of their others.
        everybody: whether all may.
        has_acl: whether an access control list may let in others still.
    """

    owners: tuple[str, ...]
    group: str | None = None
    members: tuple[str, ...] = ()
    everybody: bool = False
    has_acl: bool = False

    def __str__(self) -> str:
        """One line for people."""
        if self.everybody:
            return "everybody"
        group = f"group {self.group} ({', '.join(self.members) or 'no members'})"
        acl = "whoever its access control list names (getfacl)"
        return ", ".join([*self.owners, *[group] * (self.group is not None), *[acl] * self.has_acl])


def writers(path: Path) -> Writers:
    """Who may write the file ``path``, or make, replace and remove entries of the directory ``path``.

    Raises:
        OSError: it cannot be looked at.
    """
    status = path.stat()
    return _writers_by_mode(str(path), status)


def entry_writers(entry: Path) -> Writers:
    """Who may make, replace or remove ``entry`` in its directory.

    Raises:
        OSError: the directory cannot be looked at.
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
    may = _write_bits(status)
    group_may = bool(may & stat.S_IWGRP)
    return Writers(
        owners=(user_name(status.st_uid),),
        group=_group_name(status.st_gid) if group_may else None,
        members=_members(status.st_gid) if group_may else (),
        everybody=bool(may & stat.S_IWOTH),
        # The group's bits are then the most that the list may give: acl(5).
        has_acl=group_may and has_acl(path),
    )


def _write_bits(status: os.stat_result) -> int:
    """The write bits that work: in a directory they do nothing without the right to search it."""
    mode = status.st_mode
    return mode & (mode << 1) if stat.S_ISDIR(mode) else mode


def user_name(uid: int) -> str:
    """The name of a user; the number where there is none."""
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
    """Whether more than the mode says who may do what with ``path``: acl(5)."""
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:  # none, or a file system without them
        return False


class Foreign(NamedTuple):
    """Something on the way of a path that accounts other than root may change.

    Attributes:
        what: the thing, for people: ``the directory /srv``.
        path: of it.
        who: may change it.
    """

    what: str
    path: Path
    who: Writers

    def __str__(self) -> str:
        """One line for people, with the command that mends it."""
        acl = f"setfacl -b {self.path} && " if self.who.has_acl else ""
        return (
            f"found {self.what} that may be written by {self.who}; expected one that only root may write, because the "
            f"agent runs as root (`{acl}chown root:root {self.path} && chmod go-w {self.path}` makes it so)"
        )


def foreign(path: Path, *, end: bool = True) -> list[Foreign]:
    """Return everything by which others than root may change what ``path`` leads to.

    Every directory on the way counts, and every symlink with the directories on its way.  Each step begins at the
    directory that was judged before, held open: nobody but root can change a way on which nothing is found, so what is
    opened by this path afterwards is what was judged.

    Args:
        path: absolute; what is missing at its end is judged by the directory that it would be made in.
        end: False if only the way counts, and not who may write the thing at its end.

    Raises:
        OSError: a step is not possible: a loop of symlinks, something that is no directory.
    """
    found: dict[str, Foreign] = {}
    for what, place, who in _steps(path, end=end):
        if is_foreign(who):
            found.setdefault(what, Foreign(what, place, who))
    return list(found.values())


def _steps(path: Path, *, end: bool) -> Iterator[tuple[str, Path, Writers]]:
    """Walk along ``path``; yields each thing that decides where it leads, and who may change it."""
    ahead, links = list(reversed(path.parts[1:])), 0
    with _Held() as here:
        while ahead:
            name = ahead.pop()
            if name == "..":
                here.enter(name)
                continue
            directory, status = here.status(), here.look(name)
            is_judged_later = status is None and directory.st_mode & stat.S_ISVTX  # once it is made, by its owner
            if not is_judged_later:
                yield f"the directory {here.path}", here.path, _entry_writers(here.name, directory, status)
            if status is None:
                return
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                target = Path(os.readlink(name, dir_fd=here.fd))
                if target.is_absolute():
                    here.restart()
                ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            elif ahead:
                here.enter(name)
            elif end:
                yield from _end(here, name)


def _end(here: _Held, name: str) -> Iterator[tuple[str, Path, Writers]]:
    """Yield the last thing of a way, where no link is left."""
    path = here.path / name
    with here.opened(name) as fd:
        status = os.fstat(fd)
        what = f"the directory {path}" if stat.S_ISDIR(status.st_mode) else "a file"
        yield what, path, _writers_by_mode(_by_descriptor(fd), status)


class _Held:
    """The directory where a walk is, held open, so that it is the same one whatever its path leads to by now.

    Attributes:
        fd: of it.
        path: by which it was reached, free of symlinks.
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

    def look(self, name: str) -> os.stat_result | None:
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
        """Go to the root directory."""
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


def is_foreign(who: Writers) -> bool:
    """Return whether others than root are among these."""
    users = {*who.owners, *who.members}
    # A group other than root's may be a service's own, even if no user is known to be in it.
    groups = {who.group} - {None, _group_name(ROOT)}
    return who.everybody or who.has_acl or bool(groups) or users != {user_name(ROOT)}
