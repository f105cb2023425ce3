from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from rainbowd.config import (
    Config,
    cautions,
    check_only_root_writes,
    deployers,
)
from rainbowd.errors import ConfigError
from rainbowd.permissions import find_writable_by_others

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[..., Config]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")


def test_everybody_can_deploy_if_everybody_can_write(tmp_path: Path, loaded: Load) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links").chmod(0o777)
    (tmp_path / "links/current").symlink_to(tmp_path)
    config = loaded(release="links/current", state_dir="/run/x")
    ways = {way: who.everybody for way, who in deployers(config).items()}
    assert ways == {
        f"by putting redeploy.trigger into {tmp_path}": False,
        f"by switching the symlink {tmp_path}/links/current": True,
    }
    assert f"everybody can deploy by switching the symlink {tmp_path}/links/current" in cautions(config)


def test_a_trigger_file_that_all_may_write_lets_everybody_deploy(tmp_path: Path, loaded: Load) -> None:
    trigger = tmp_path / "redeploy.trigger"
    trigger.touch()
    trigger.chmod(0o666)
    who = deployers(loaded())[f"by writing {trigger}"]
    assert str(who) == "everybody"
    trigger.chmod(0o644)
    assert not deployers(loaded())[f"by writing {trigger}"].everybody


def test_in_a_sticky_directory_only_the_owners_may_replace_files(tmp_path: Path, loaded: Load) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    trigger = tmp_path / "shared/redeploy.trigger"
    way = f"by putting redeploy.trigger into {tmp_path}/shared"
    assert deployers(loaded(trigger_file=str(trigger)))[way].everybody
    trigger.touch(0o644)
    assert not deployers(loaded(trigger_file=str(trigger)))[way].everybody


def test_a_directory_that_others_may_write_but_not_search_lets_nobody_in(tmp_path: Path, loaded: Load) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd").chmod(0o722)
    (who,) = deployers(loaded(trigger_file="odd/x")).values()
    assert (who.everybody, who.group) == (False, None)


@needs_root
def test_a_group_that_may_deploy_is_named_with_its_members(tmp_path: Path, loaded: Load) -> None:
    config = loaded()
    os.chown(tmp_path, 1, 1)  # daemon, on every Linux: its group has it as first group
    tmp_path.chmod(0o775)
    (who,) = deployers(config).values()
    assert str(who) == "daemon, group daemon (daemon)"


@needs_root
def test_owners_and_groups_without_a_name_are_shown_as_numbers(tmp_path: Path, loaded: Load) -> None:
    config = loaded()
    os.chown(tmp_path, 54321, 54322)
    tmp_path.chmod(0o775)
    (who,) = deployers(config).values()
    assert str(who) == "54321, group 54322 (no members)"


def test_a_state_directory_inside_the_release_is_cautioned_against(tmp_path: Path, loaded: Load) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")

    def is_cautioned(**keys: object) -> bool:
        return any(line.startswith("state_dir: ") for line in cautions(loaded(**keys)))

    assert is_cautioned()
    assert is_cautioned(release="current", state_dir="v1/state")
    assert not is_cautioned(release="current", state_dir="state")


def test_root_is_warned_that_deployers_are_root_too(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    for user, expected in ((0, True), (1000, False)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert any("anyone who can deploy can run code as root" in line for line in cautions(loaded())) is expected


@pytest.fixture
def rooted(tmp_path: Path) -> Path:
    """A file of root's in a directory of root's."""
    file = tmp_path / "etc" / "rainbowd.json"
    file.parent.mkdir(mode=0o755)
    file.touch(0o644)
    return file


def refusal(file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        check_only_root_writes(file)
    return str(caught.value)


@needs_root
def test_a_file_that_only_root_may_change_is_accepted(rooted: Path) -> None:
    check_only_root_writes(rooted)


@needs_root
@pytest.mark.parametrize(("uid", "gid", "mode"), [(0, 0, 0o646), (0, 1, 0o664), (1, 0, 0o600), (0, 54321, 0o620)])
def test_a_file_that_others_may_write_is_refused(rooted: Path, uid: int, gid: int, mode: int) -> None:
    os.chown(rooted, uid, gid)
    rooted.chmod(mode)
    assert "found a file that may be written by" in refusal(rooted)


@needs_root
@pytest.mark.parametrize("mode", [0o757, 0o775])
def test_a_directory_that_others_may_write_is_refused(rooted: Path, mode: int) -> None:
    os.chown(rooted.parent, 0, 1)
    rooted.parent.chmod(mode)
    assert f"found the directory {rooted.parent} that may be written by" in refusal(rooted)


@needs_root
def test_a_directory_further_up_counts_too(rooted: Path) -> None:
    rooted.parent.parent.chmod(0o777)
    assert f"found the directory {rooted.parent.parent} that" in refusal(rooted)


@needs_root
def test_the_group_of_root_is_trusted(rooted: Path) -> None:
    os.chown(rooted, 0, 0)
    rooted.chmod(0o664)
    check_only_root_writes(rooted)


@needs_root
def test_a_file_of_roots_in_a_sticky_directory_is_accepted(rooted: Path) -> None:
    rooted.parent.chmod(0o1777)
    check_only_root_writes(rooted)
    os.chown(rooted.parent, 1, 1)
    assert "that may be written by root, daemon" in refusal(rooted)


@needs_root
def test_a_link_is_refused_for_its_own_directory_and_for_its_targets(rooted: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    link = tmp_path / "shared" / "link.json"
    link.symlink_to(rooted)
    check_only_root_writes(link)
    link.parent.chmod(0o777)
    assert f"found the directory {link.parent}" in refusal(link)
    link.parent.chmod(0o755)
    rooted.parent.chmod(0o777)
    assert f"found the directory {rooted.parent}" in refusal(link)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").startswith(f"{tmp_path}/none: cannot be read (No such file")
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "loop").startswith(f"{tmp_path}/loop: cannot be read (")


@needs_root
def test_root_is_not_warned_if_the_app_is_another_user(loaded: Load) -> None:
    for user, expected in ((None, True), ("root", True), (0, True), ("nobody", False)):
        assert (
            any("anyone who can deploy can run code as root" in line for line in cautions(loaded(user=user)))
            is expected
        )


@needs_root
def test_every_link_on_the_way_counts(rooted: Path, tmp_path: Path) -> None:
    """Also one in the middle, which neither the path as it is written nor the resolved one has."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "link").symlink_to(rooted.parent)
    (tmp_path / "first").symlink_to("theirs/link")
    check_only_root_writes(tmp_path / "first" / rooted.name)
    os.chown(tmp_path / "theirs", 1, -1)
    assert f"found the directory {tmp_path}/theirs that may be written by daemon" in refusal(
        tmp_path / "first" / rooted.name
    )


@needs_root
def test_a_link_that_others_made_in_a_sticky_directory_is_refused(rooted: Path) -> None:
    rooted.parent.chmod(0o1777)
    link = rooted.parent / "link"
    link.symlink_to(rooted)
    check_only_root_writes(link)
    os.lchown(link, 1, 1)
    assert "that may be written by daemon, root" in refusal(link)


@needs_root
def test_the_command_that_mends_it_is_named_and_does(rooted: Path) -> None:
    os.chown(rooted, 1, 1)
    rooted.chmod(0o666)
    mend = re.findall(r"`(.*?)`", refusal(rooted))
    subprocess.run(mend[0], shell=True, check=True)
    check_only_root_writes(rooted)


@needs_root
def test_a_socket_in_a_sticky_directory_is_refused_because_others_may_take_its_name_first(rooted: Path) -> None:
    socket = rooted.parent / "app.sock"
    assert find_writable_by_others(socket, end=False) == []
    rooted.parent.chmod(0o1777)
    assert find_writable_by_others(socket) == [], "a file of root's stays root's"
    (found,) = find_writable_by_others(socket, end=False)
    assert str(found).startswith(f"found the directory {rooted.parent} that may be written by everybody; expected")
    socket.touch()
    assert find_writable_by_others(socket, end=False) == [found], "an earlier agent's socket is removed at its end"


@needs_root
def test_the_command_that_corrects_permissions_is_quoted_for_a_shell(rooted: Path) -> None:
    directory = rooted.parent / "a b; touch $(x)"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    (found,) = find_writable_by_others(directory / "file")
    command = str(found).partition("`")[2].rpartition("`")[0]
    assert shlex.split(command) == ["chown", "root:root", str(directory), "&&", "chmod", "go-w", str(directory)]


def test_a_socket_in_a_directory_of_everybodys_is_warned_of(tmp_path: Path, loaded: Load) -> None:
    tmp_path.chmod(0o1777)
    config = loaded(listen=f"unix:{tmp_path}/app.sock")
    (caution,) = [line for line in cautions(config) if line.startswith("listen: ")]
    assert f"everybody can create a socket at {tmp_path}/app.sock" in caution
    tmp_path.chmod(0o755)
    assert not [line for line in cautions(config) if line.startswith("listen: ")]
