"""Who may write what: whoever may write the files that an agent reads decides what it runs.

An owner always may, since an owner can change the mode.  A sticky directory (``/tmp``) lets everybody make
new entries, but only an entry's owner and the directory's replace one (rename(2), unlink(2)).
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rainbowd.config.account import ROOT, find_account
from rainbowd.config.exposure import is_published
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.config.models import Config


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
    return _writers_by_mode(path, status)


def entry_writers(entry: Path) -> Writers:
    """Who may make, replace or remove ``entry`` in its directory.

    Raises:
        OSError: the directory cannot be looked at.
    """
    directory = entry.parent.stat()
    if directory.st_mode & stat.S_ISVTX:
        with suppress(FileNotFoundError):
            owners = (user_name(entry.lstat().st_uid), user_name(directory.st_uid))
            return Writers(tuple(dict.fromkeys(owners)))
    return _writers_by_mode(entry.parent, directory)


def _writers_by_mode(path: Path, status: os.stat_result) -> Writers:
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


def has_acl(path: Path) -> bool:
    """Whether more than the mode says who may do what with ``path``: acl(5)."""
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:  # none, or a file system without them
        return False


def refuse_foreign_writers(path: Path) -> None:
    """For an agent run as root: refuse a file that others than root may write or replace.

    Every directory on the way to it counts, as it is written and with its symlinks resolved.

    Raises:
        ConfigError: others may, or the file cannot be looked at.
    """
    try:
        files = dict.fromkeys((path.absolute(), path.resolve(strict=True)))
        problems = [problem for file in files for problem in _foreign(file)]
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "a loop of symlinks"
        raise ConfigError(f"{path}: cannot be looked at ({reason}); expected a file of root's") from None
    if problems:
        raise ConfigError(*(f"{path}: {problem}" for problem in dict.fromkeys(problems)))


def _foreign(file: Path) -> list[str]:
    """Why others than root may change what is read at ``file``."""
    expected = "expected one that only root may write, for the agent runs as root"
    found = {"a file": writers(file)}
    for entry in (file, *file.parents[:-1]):
        found[f"the directory {entry.parent}"] = entry_writers(entry)
    return [f"found {what} that may be written by {who}; {expected}" for what, who in found.items() if _is_foreign(who)]


def _is_foreign(who: Writers) -> bool:
    users = {*who.owners, *who.members}
    # A group other than root's may be a service's own, even if no user is known to be in it.
    groups = {who.group} - {None, _group_name(ROOT)}
    return who.everybody or who.has_acl or bool(groups) or users != {user_name(ROOT)}


def deployers(config: Config) -> dict[str, Writers]:
    """Who may deploy, by the way in which they may; ways that do not exist are left out."""
    found: dict[str, Writers] = {}
    trigger, release = config.trigger_file, config.release
    with suppress(OSError):
        if trigger is not None and trigger.is_file() and not trigger.is_symlink():
            found[f"by writing {trigger}"] = writers(trigger)
    with suppress(OSError):
        if trigger is not None:
            found[f"by putting {trigger.name} into {trigger.parent}"] = entry_writers(trigger)
    with suppress(OSError):
        if release.is_symlink():
            found[f"by turning the link {release}"] = entry_writers(release)
    return found


def cautions(config: Config) -> list[str]:
    """What is allowed but seldom meant, a line each; for ``check`` and for the start of an agent."""
    found = [f"everybody may deploy {way}" for way, who in deployers(config).items() if who.everybody]
    account = find_account(config.user, config.group)
    if os.geteuid() == ROOT and (account is None or account.uid == ROOT):
        found.append("the app runs as root, so whoever may deploy is root")
    if os.geteuid() == ROOT:
        found += _shared_state(config.state_dir)
    if is_published(config.state_dir, config):
        found.append(
            f"state_dir: {config.state_dir} lies inside the release {config.release}: "
            "an app that serves its own directory would publish it"
        )
    return found


def _shared_state(state_dir: Path) -> list[str]:
    """Whether others than root may move the state directory away and put another in its place."""
    with suppress(OSError):
        for entry in (state_dir, *state_dir.parents[:-1]):
            if entry.parent.exists() and _is_foreign(who := entry_writers(entry)):
                return [f"state_dir: {entry} may be replaced by {who}, and the agent writes there as root"]
    return []
