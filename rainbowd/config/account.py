"""The account that the app and the hooks run as: the keys ``user`` and ``group``."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rainbowd.errors import ConfigError
from rainbowd.json_file import format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = 0


class NeedsRoot(ConfigError):
    """An account that only an agent that runs as root can switch to."""


@dataclass(frozen=True)
class Account:
    """The credentials and environment variables of a user's processes.

    Attributes:
        uid: the user ID.
        gid: the primary group's ID.
        groups: the user's other groups, as initgroups(3) sets them.
        variables: ``HOME``, ``USER`` and ``LOGNAME``; empty if only a group was given.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    variables: Mapping[str, str]

    def may_execute(self, status: os.stat_result) -> bool:
        """Return whether the mode in ``status`` lets this account run the file, or search the directory."""
        if self.uid == ROOT:
            return stat.S_ISDIR(status.st_mode) or bool(status.st_mode & 0o111)
        if self.uid == status.st_uid:
            return bool(status.st_mode & stat.S_IXUSR)
        in_group = status.st_gid in {self.gid, *self.groups}
        return bool(status.st_mode & (stat.S_IXGRP if in_group else stat.S_IXOTH))


def find_account(user: str | int | None, group: str | int | None) -> Account | None:
    """Look up the keys ``user`` and ``group`` of a config.

    As in systemd, a number must belong to a user or group of this machine, and a group alone changes nothing else.

    Returns:
        The account; None if both are None.

    Raises:
        NeedsRoot: this process may not switch to the account.
        ConfigError: the user or group does not exist.
    """
    if user is None and group is None:
        return None
    entry = _find_user(os.geteuid() if user is None else user)
    gid = entry.pw_gid if group is None else _find_group(group)
    if os.geteuid() != ROOT:
        _check_privilege(user, group, entry.pw_uid, gid)
    named = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    return Account(entry.pw_uid, gid, groups, {} if user is None else named)


def _find_user(user: str | int) -> pwd.struct_passwd:
    try:
        number = _number(user)
        return pwd.getpwnam(str(user)) if number is None else pwd.getpwuid(number)
    except (KeyError, OverflowError):
        raise ConfigError(
            f"user: found {format_value(user)}; expected a user of this machine, by name or number"
        ) from None


def _find_group(group: str | int) -> int:
    try:
        number = _number(group)
        return (grp.getgrnam(str(group)) if number is None else grp.getgrgid(number)).gr_gid
    except (KeyError, OverflowError):
        raise ConfigError(
            f"group: found {format_value(group)}; expected a group of this machine, by name or number"
        ) from None


def _number(name: str | int) -> int | None:
    """Return a numeric ID; None for a name, which is never all digits: systemd.exec(5), ``User=``."""
    if isinstance(name, int):
        return name
    return int(name) if name.isascii() and name.isdecimal() else None


def _check_privilege(user: str | int | None, group: str | int | None, uid: int, gid: int) -> None:
    """Raise an error unless this process runs as root or already has the account."""
    if uid != os.geteuid():
        raise NeedsRoot(f"user: found {format_value(user)}; expected an agent that runs as root, or null")
    if gid != os.getegid() and group is not None:
        raise NeedsRoot(f"group: found {format_value(group)}; expected an agent that runs as root, or null")
