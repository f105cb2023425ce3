from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from rainbowd import release_link
from rainbowd.cli.agent_files import linked_release
from rainbowd.cli.deploy_request import (
    LINE_BYTES,
    DeployRequest,
    TriggerFile,
    check_request,
    encode,
    is_shortened,
    switch_link,
)
from rainbowd.config_paths import ConfigPaths
from rainbowd.deploy.watch.file_state import TriggerNote, parse_note, read_note
from rainbowd.errors import UsageError
from tests.accounts import account, needs_root


@pytest.fixture
def where(tmp_path: Path) -> ConfigPaths:
    for name in ("v1", "v2"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/v1")
    return ConfigPaths(tmp_path / "rainbowd.json", tmp_path / "current", tmp_path / "trigger", tmp_path / "state")


def request(note: str | None = None, release: Path | None = None) -> DeployRequest:
    return DeployRequest("0123456789ab", note, release)


def test_an_agent_reads_the_request_that_a_command_wrote(where: ConfigPaths) -> None:
    assert where.trigger_file is not None
    release = where.release.parent / "releases" / "v2"
    TriggerFile(where.trigger_file, request("a note", release)).write()
    assert read_note(where.trigger_file) == TriggerNote("a note", "0123456789ab", str(release))
    assert json.loads(where.trigger_file.read_text()).keys() == {"request", "note", "release"}


def test_a_trigger_file_is_replaced_and_nothing_else_is_left(where: ConfigPaths) -> None:
    assert where.trigger_file is not None
    where.trigger_file.write_text("old")
    where.trigger_file.chmod(0o600)
    before = where.trigger_file.stat()
    TriggerFile(where.trigger_file, request()).write()
    after = where.trigger_file.stat()
    assert after.st_ino != before.st_ino
    assert stat.S_IMODE(after.st_mode) == 0o644, "the agent may be another user, and reads it"
    assert sorted(entry.name for entry in where.trigger_file.parent.iterdir()) == ["current", "releases", "trigger"]


@pytest.mark.parametrize(("old", "new"), [(0o6777, 0o666), (0o7660, 0o664), (0o4755, 0o644), (0o1400, 0o644)])
def test_no_bit_but_those_to_write_is_taken_from_the_old_file(where: ConfigPaths, old: int, new: int) -> None:
    assert where.trigger_file is not None
    where.trigger_file.touch()
    where.trigger_file.chmod(old)
    TriggerFile(where.trigger_file, request()).write()
    assert stat.S_IMODE(where.trigger_file.stat().st_mode) == new


def test_the_mode_of_a_planted_link_is_not_copied(where: ConfigPaths) -> None:
    assert where.trigger_file is not None
    where.trigger_file.symlink_to("nowhere")
    TriggerFile(where.trigger_file, request()).write()
    assert stat.S_IMODE(where.trigger_file.lstat().st_mode) & 0o002 == 0


@needs_root
def test_another_file_that_is_linked_in_its_place_is_not_overwritten(open_path: Path) -> None:
    (open_path / "precious").write_text("precious")
    (open_path / "trigger").hardlink_to(open_path / "precious")
    (open_path / "precious").chmod(0o666)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setuid(65534)
            TriggerFile(open_path / "trigger", request()).write()
        except UsageError:
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (open_path / "precious").read_text() == "precious"


def test_a_request_is_unchanged_until_someone_changes_the_file(where: ConfigPaths) -> None:
    assert where.trigger_file is not None
    trigger = TriggerFile(where.trigger_file, request())
    trigger.write()
    assert trigger.is_unchanged()
    TriggerFile(where.trigger_file, request()).write()
    assert not trigger.is_unchanged()
    trigger.write()
    assert trigger.is_unchanged()
    where.trigger_file.unlink()
    assert not trigger.is_unchanged()
    assert TriggerFile(None, request()).is_unchanged()


@needs_root
def test_if_only_the_file_may_be_written_it_is_overwritten(open_path: Path) -> None:
    file = open_path / "trigger"
    file.write_text("a longer line than what comes")
    file.chmod(0o666)
    open_path.chmod(0o755)
    inode = file.stat().st_ino
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setuid(65534)
            where = ConfigPaths(open_path / "rainbowd.json", open_path / "current", file, open_path / "state")
            check_request(where, request())
            trigger = TriggerFile(file, request("n"))
            trigger.write()
            status = 0 if trigger.is_unchanged() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert file.stat().st_ino == inode
    assert read_note(file).request == "0123456789ab"


@pytest.mark.parametrize(
    "note",
    ["x" * 1_000_000, "é" * 2000, "🌈" * 2000, "\\" * 2000, "\x1b[31m" * 500, "a\nb\n" * 500, "\udcff" * 2000],
    ids=["long", "accents", "emoji", "backslashes", "escapes", "lines", "not utf-8"],
)
def test_a_note_that_does_not_fit_is_cut_short_and_nothing_else_is_lost(note: str) -> None:
    asked = request(note, Path("/srv/releases/v2"))
    line = encode(asked)
    assert LINE_BYTES - 12 <= len(line) <= LINE_BYTES
    assert is_shortened(asked)
    read = parse_note(line)
    assert (read.request, read.release) == (asked.id, "/srv/releases/v2")
    assert read.note
    assert read.note.isprintable()


@pytest.mark.parametrize("note", [None, "", "short", "two\nlines", "\x00"])
def test_a_note_that_fits_is_whole(note: str | None) -> None:
    assert not is_shortened(request(note))
    assert json.loads(encode(request(note))).get("note", "") == (note or "")


def test_a_release_that_is_not_utf8_passes_unharmed() -> None:
    release = Path(os.fsdecode(b"/srv/\xff\xe9"))
    assert parse_note(encode(request(None, release))).release == str(release)


def test_a_path_that_does_not_fit_is_left_out() -> None:
    read = parse_note(encode(request("n", Path("/" + "x" * 1100))))
    assert read == TriggerNote("n", "0123456789ab", None)


def test_the_link_is_switched_to_the_requested_release(where: ConfigPaths) -> None:
    assert switch_link(where, request()) is None
    turned = switch_link(where, request(None, where.release.parent / "releases" / "v2"))
    assert turned is not None
    assert (turned.before, release_link.read(where.release)) == ("releases/v1", "releases/v2")


def test_without_a_trigger_file_the_same_release_is_linked_again(where: ConfigPaths) -> None:
    off = where._replace(trigger_file=None)
    before = where.release.lstat().st_ino
    check_request(off, request())
    TriggerFile(None, request()).write()
    switch_link(off, request())
    assert release_link.read(where.release) == "releases/v1"
    assert where.release.lstat().st_ino != before


def _directory(file: Path) -> None:
    file.mkdir()


def _symlink(file: Path) -> None:
    file.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("make", "found"), [(_directory, "a directory"), (_symlink, "a symlink"), (os.mkfifo, "a special file")]
)
def test_a_special_file_is_not_written_to(where: ConfigPaths, make: object, found: str) -> None:
    assert where.trigger_file is not None
    assert callable(make)
    make(where.trigger_file)
    with pytest.raises(UsageError, match=f"found {found}; expected a regular file, or no file"):
        check_request(where, request())


def test_a_release_that_is_not_a_link_is_not_switched_and_can_be_deployed_again(where: ConfigPaths) -> None:
    plain = where._replace(release=where.release.parent / "releases" / "v1")
    check_request(plain, request())
    with pytest.raises(UsageError, match="expected a symlink"):
        check_request(plain, request(None, where.release))
    with pytest.raises(UsageError, match="trigger_file is off"):
        check_request(plain._replace(trigger_file=None), request())


def test_a_trigger_file_whose_directory_is_missing_is_named(where: ConfigPaths) -> None:
    lost = where._replace(trigger_file=where.release.parent / "none" / "trigger")
    with pytest.raises(UsageError, match="found no directory"):
        check_request(lost, request())
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        TriggerFile(lost.trigger_file, request()).write()


def test_a_link_to_itself_is_a_usage_error(tmp_path: Path) -> None:
    current = tmp_path / "current"
    assert linked_release(current) is None
    current.symlink_to("current")
    assert linked_release(current) == current


@needs_root
def test_root_replaces_nothing_for_a_config_that_others_can_write(where: ConfigPaths) -> None:
    where.config_file.touch()
    check_request(where, request())
    os.chown(where.config_file, account().uid, -1)
    expected = (
        f"cannot deploy as root: {where.config_file} may be written by nobody, who could have root replace or remove"
    )
    with pytest.raises(UsageError, match=re.escape(expected)):
        check_request(where, request())
    os.chown(where.config_file, 0, -1)
    where.config_file.parent.chmod(0o777)
    with pytest.raises(UsageError, match=r"cannot deploy as root: .* may be written by everybody"):
        check_request(where, request())
