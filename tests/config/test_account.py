from __future__ import annotations

import grp
import os
import pwd
from typing import TYPE_CHECKING

import pytest

from rainbowd.config import Account, find_account
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Problems = Callable[..., list[str]]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
needs_no_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may become anybody")

SOMEBODY = pwd.getpwnam("nobody")
OURSELVES = pwd.getpwuid(os.geteuid())


def found(user: str | int | None, group: str | int | None = None) -> Account:
    account = find_account(user, group)
    assert account is not None
    return account


def test_without_user_and_group_nothing_changes() -> None:
    assert find_account(None, None) is None


@needs_root
@pytest.mark.parametrize("user", ["nobody", SOMEBODY.pw_uid, str(SOMEBODY.pw_uid)])
def test_a_user_by_name_or_number_has_its_groups_and_its_home(user: str | int) -> None:
    account = found(user)
    assert (account.uid, account.gid) == (SOMEBODY.pw_uid, SOMEBODY.pw_gid)
    assert account.groups == tuple(os.getgrouplist("nobody", SOMEBODY.pw_gid))
    assert account.variables == {"HOME": SOMEBODY.pw_dir, "USER": "nobody", "LOGNAME": "nobody"}


@needs_root
def test_a_group_takes_the_place_of_the_users_own() -> None:
    daemon = grp.getgrgid(1)
    for group in (daemon.gr_name, 1, "1"):
        account = found("nobody", group)
        assert (account.gid, 1 in account.groups) == (1, True)


@needs_root
def test_a_group_alone_changes_nothing_else() -> None:
    account = found(None, 1)
    assert (account.uid, account.gid, account.variables) == (0, 1, {})


def test_the_agents_own_user_is_always_allowed() -> None:
    account = found(OURSELVES.pw_name)
    assert account.uid == os.geteuid()
    assert account.variables["HOME"] == OURSELVES.pw_dir


@pytest.mark.parametrize("name", ["no-such-one", 4294967290, 1 << 70, "4294967290", "no such one"])
def test_an_unknown_user_or_group_is_named(problems: Problems, name: str | int) -> None:
    shown = f'"{name}"' if isinstance(name, str) else name
    assert problems(user=name) == [f"user: found {shown}; expected a user of this machine, by name or number"]
    if os.geteuid() == 0:
        assert problems(group=name) == [f"group: found {shown}; expected a group of this machine, by name or number"]


@pytest.mark.parametrize("value", ["", -1, True, 1.5, [], {}, "a\0b"])
def test_a_value_that_is_not_a_name_is_refused(problems: Problems, value: object) -> None:
    for key in "user", "group":
        (problem,) = problems(**{key: value})
        assert problem.startswith(f"{key}: found ")
        assert problem.endswith("expected a name or a number, or null")


@needs_no_root
def test_only_root_may_become_another_user(problems: Problems) -> None:
    assert problems(user="root") == ['user: found "root"; expected an agent that runs as root, or null']


def test_an_agent_that_is_not_root_is_refused_another_user(problems: Problems, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert problems(user="nobody") == ['user: found "nobody"; expected an agent that runs as root, or null']


def test_an_agent_that_is_not_root_is_refused_another_group(
    problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY.pw_uid)
    monkeypatch.setattr(os, "getegid", lambda: SOMEBODY.pw_gid)
    assert problems(user="nobody", group=1) == ["group: found 1; expected an agent that runs as root, or null"]
    with pytest.raises(ConfigError):
        find_account(None, 1)


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "may"),
    [
        (1000, 1, 0o700, True),
        (1000, 1, 0o077, False),
        (1, 1000, 0o010, True),
        (1, 1001, 0o010, True),
        (1, 1001, 0o001, False),
        (1, 1, 0o001, True),
        (1, 1, 0o776, False),
    ],
)
def test_the_first_class_that_fits_decides_who_may_execute(
    tmp_path: Path, uid: int, gid: int, mode: int, may: bool
) -> None:
    account = Account(1000, 1000, (1000, 1001), {})
    status = os.stat_result((0o100000 | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))
    assert account.may_execute(status) is may


@pytest.mark.parametrize(("mode", "may"), [(0o100644, False), (0o100654, True), (0o040000, True)])
def test_root_may_enter_every_directory_and_run_every_executable(mode: int, may: bool) -> None:
    assert Account(0, 0, (), {}).may_execute(os.stat_result((mode, 0, 0, 1, 9, 9, 0, 0, 0, 0))) is may
