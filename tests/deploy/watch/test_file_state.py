from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rainbowd.deploy.watch import file_state
from rainbowd.deploy.watch.file_state import (
    NOTE_BYTES,
    FileState,
    TriggerNote,
    baseline,
    is_transient,
    link_changed,
    observe,
    parse_note,
    read_note,
    resolve_release,
    trigger_touched,
    watched_directories,
)
from rainbowd.errors import DeployFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of our own, and no right to what is not ours."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    if os.getuid() == 0:
        os.chown(place, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    yield place
    os.seteuid(os.getuid())
    subprocess.run(["chmod", "-R", "u+rwx", place], check=True)
    shutil.rmtree(place)


def shell(command: str, site: Path) -> None:
    subprocess.run(["sh", "-ec", command], cwd=site, check=True)


def sees(site: Path) -> FileState:
    return observe(site / "current", site / "trigger")


def later(path: Path) -> None:
    """As a touch a second later."""
    stamp = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(stamp, stamp))


# --- the release ------------------------------------------------------------------------------------------


def test_a_release_is_resolved_through_all_its_links(site: Path) -> None:
    (site / "latest").symlink_to(site / "current")
    assert resolve_release(site / "latest") == (site / "releases/v1").resolve()
    assert resolve_release(site / "releases/v2") == (site / "releases/v2").resolve()


def test_a_missing_release_is_named(site: Path) -> None:
    with pytest.raises(DeployFailed, match=r"/app does not exist$"):
        resolve_release(site / "app")
    with pytest.raises(DeployFailed, match=r"/trigger/app does not exist$"):
        resolve_release(site / "trigger" / "app")


def test_a_dangling_link_is_named_with_its_target_as_written(site: Path) -> None:
    shell("ln -sfn releases/v9 current", site)
    with pytest.raises(DeployFailed) as failure:
        resolve_release(site / "current")
    assert "current -> releases/v9 is a dangling link" in failure.value.reason
    assert "/releases/v9 does not exist" in failure.value.reason


def test_a_link_that_dangles_at_second_hand_names_what_is_missing(site: Path) -> None:
    shell("ln -s v9 releases/latest; ln -sfn releases/latest current", site)
    with pytest.raises(DeployFailed, match=r"-> releases/latest is a dangling link: .*/releases/v9 does"):
        resolve_release(site / "current")


def test_a_link_to_itself_is_reported(site: Path) -> None:
    shell("ln -sfn current current", site)
    with pytest.raises(DeployFailed, match="current -> current leads back to itself"):
        resolve_release(site / "current")


def test_a_release_that_is_a_file_is_reported(site: Path) -> None:
    shell("ln -sfn trigger current", site)
    with pytest.raises(DeployFailed, match="current -> trigger is not a directory"):
        resolve_release(site / "current")


def test_a_release_that_cannot_be_entered_is_reported(unprivileged: Path) -> None:
    app = unprivileged / "app"
    app.mkdir()
    app.chmod(0)
    with pytest.raises(DeployFailed, match=r"/app cannot be entered: permission denied"):
        resolve_release(app)
    with pytest.raises(DeployFailed, match=r"/app/v1 cannot be reached: Permission denied"):
        resolve_release(app / "v1")


# --- comparing --------------------------------------------------------------------------------------------


def test_nothing_changed_is_no_change(site: Path) -> None:
    assert sees(site) == sees(site)
    assert not link_changed(sees(site), sees(site))
    assert not trigger_touched(sees(site), sees(site))


@pytest.mark.parametrize(
    "command",
    [
        "ln -sfn releases/v2 current",
        "ln -sfT releases/v1 current",
        "ln -s releases/v1 new; mv -T new current",
        "rm current",
        "rm current; mkdir current",
        "rm -r releases/v1",
        "mv releases elsewhere",
    ],
)
def test_the_link_turned_linked_again_or_come_to_nothing_is_a_turn(site: Path, command: str) -> None:
    seen = sees(site)
    shell(command, site)
    assert link_changed(seen, sees(site))
    assert not trigger_touched(seen, sees(site))


def test_a_link_further_on_turned_is_a_turn(site: Path) -> None:
    shell("ln -s v1 releases/latest; ln -sfn releases/latest current", site)
    seen = sees(site)
    shell("ln -sfn v2 releases/latest", site)
    assert link_changed(seen, sees(site))


def test_a_directory_above_turned_is_a_turn(site: Path) -> None:
    (site / "releases/v1/app").mkdir()
    (site / "releases/v2/app").mkdir()
    seen = observe(site / "current/app", None)
    shell("ln -sfn releases/v2 current", site)
    assert link_changed(seen, observe(site / "current/app", None))


def test_a_plain_directory_that_goes_and_comes_back_is_no_turn(site: Path) -> None:
    app = site / "releases" / "v1"
    seen = observe(app, None)
    app.rmdir()
    away = observe(app, None)
    assert not link_changed(seen, away)
    app.mkdir()
    assert not link_changed(baseline(seen, away), observe(app, None))


def test_a_release_that_was_missing_and_comes_is_a_turn(site: Path) -> None:
    app = site / "app"
    seen = observe(app, None)
    assert not link_changed(seen, observe(app, None))
    app.mkdir()
    assert link_changed(seen, observe(app, None))


def test_one_dangling_link_after_another_is_a_turn_but_another_reason_is_none(site: Path) -> None:
    shell("ln -sfn releases/v9 current", site)
    seen = sees(site)
    assert seen.release is None
    assert "dangling" in str(seen.problem)
    shell("touch releases/v9", site)
    assert "not a directory" in str(sees(site).problem)
    assert not link_changed(seen, sees(site))
    shell("ln -sfn releases/v8 current", site)
    assert link_changed(seen, sees(site))


@pytest.mark.parametrize(
    "command",
    ["chmod 600 trigger", "cat trigger", "rm trigger", "mkdir other", "ln -sfn releases/v2 current"],
)
def test_reading_chmod_removing_and_what_else_happens_is_no_touch(site: Path, command: str) -> None:
    seen = sees(site)
    shell(command, site)
    assert not trigger_touched(seen, sees(site))


@pytest.mark.parametrize(
    "command",
    [
        "touch -d '1 hour' trigger",
        "touch -d '1970-01-01' trigger",
        "touch new; mv new trigger",
        "ln -s nothing new; mv new trigger",
        "rm trigger; mkdir trigger; touch -d '1 hour' trigger",
    ],
)
def test_the_trigger_file_modified_or_replaced_is_a_touch(site: Path, command: str) -> None:
    seen = sees(site)
    shell(command, site)
    assert trigger_touched(seen, sees(site))
    assert not link_changed(seen, sees(site))


def test_a_trigger_file_made_again_as_it_was_is_a_touch_once_it_was_seen_gone(site: Path) -> None:
    seen = sees(site)
    shell("mv trigger away", site)
    gone = sees(site)
    assert not trigger_touched(seen, gone)
    shell("mv away trigger", site)
    assert trigger_touched(baseline(seen, gone), sees(site))


def test_a_trigger_file_written_within_one_tick_of_the_clock_is_a_touch(site: Path) -> None:
    seen = sees(site)
    stamp = (site / "trigger").stat().st_mtime_ns
    (site / "trigger").write_text("words")
    os.utime(site / "trigger", ns=(stamp, stamp))
    assert trigger_touched(seen, sees(site))


def test_touching_a_trigger_symlink_touches_its_target_and_counts(site: Path) -> None:
    shell("touch other; ln -sfn other trigger", site)
    seen = sees(site)
    later(site / "trigger")
    assert trigger_touched(seen, sees(site))
    seen = sees(site)
    shell("rm other", site)
    assert not trigger_touched(seen, sees(site))


def test_no_release_and_an_emptied_trigger_file_are_passing_states(site: Path) -> None:
    seen = sees(site)
    later(site / "trigger")
    assert not is_transient(seen, sees(site))
    (site / "trigger").write_text("words")
    written = sees(site)
    assert not is_transient(seen, written)
    os.truncate(site / "trigger", 0)
    later(site / "trigger")
    assert is_transient(written, sees(site))
    shell("rm current", site)
    assert is_transient(seen, sees(site))


def test_the_owners_are_those_of_the_link_and_of_the_trigger_file(site: Path) -> None:
    assert sees(site).link_owner == (site / "current").lstat().st_uid
    if os.getuid() == 0:
        os.chown(site / "current", NOBODY, NOBODY, follow_symlinks=False)
        assert sees(site).link_owner == NOBODY
        assert sees(site).trigger_owner == 0
    assert observe(site / "releases", None).link_owner is None


def test_a_new_link_is_never_seen_without_the_note_written_before_it(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = sees(site)
    really_lstat = file_state._lstat

    def lstat_after_a_whole_deploy_command(path: Path) -> os.stat_result | None:
        result = really_lstat(path)
        if path.name == "trigger":
            shell("ln -sfn releases/v2 current", site)
        else:
            later(site / "trigger")
        return result

    monkeypatch.setattr(file_state, "_lstat", lstat_after_a_whole_deploy_command)
    now = sees(site)
    assert trigger_touched(seen, now)
    assert not link_changed(seen, now)


def test_what_cannot_be_looked_at_is_neither_there_nor_gone(unprivileged: Path) -> None:
    unprivileged.chmod(0)
    with pytest.raises(PermissionError):
        observe(unprivileged / "current", None)


# --- what to listen to ------------------------------------------------------------------------------------


def test_the_parents_are_watched_but_not_that_of_a_plain_directory(site: Path) -> None:
    assert set(watched_directories(site / "current", site / "releases/trigger")) == {site, site / "releases"}
    assert set(watched_directories(site / "releases", None)) == set()
    assert set(watched_directories(site / "missing", None)) == {site}
    assert set(watched_directories(site / "gone/missing", site / "trigger/x")) == set()


def test_a_directory_renamed_and_made_again_is_another(site: Path) -> None:
    before = watched_directories(site / "releases/link", None)
    shell("mv releases old; mkdir releases", site)
    assert watched_directories(site / "releases/link", None) != before


# --- the note ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (b"", None),
        (b"\n", None),
        (b"  \r\n", None),
        (b"release 42\nsecond line", "release 42"),
        (b"ends without a newline", "ends without a newline"),
        (b"\x1b[31mred\x00\x7f", "\\x1b[31mred\\x00\\x7f"),
        ("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n \N{RIGHT-TO-LEFT OVERRIDE}".encode(), "gr\xfcn \\u202e"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"{not json", "{not json"),
        (b'{"a":' + b"[" * 1018, '{"a":' + "[" * 1018),
    ],
)
def test_the_first_line_is_the_note_with_control_characters_escaped(data: bytes, note: str | None) -> None:
    assert parse_note(data) == TriggerNote(note=note)


def test_the_json_form_is_understood() -> None:
    fields = {"request": "r1", "note": "hot\x1bfix", "release": "/srv/v2", "more": 1}
    expected = TriggerNote(note="hot\\x1bfix", request="r1", release="/srv/v2")
    assert parse_note(json.dumps(fields).encode() + b"\n") == expected


@pytest.mark.parametrize(
    "data", [b"{}", b'{"note": 1, "request": null, "release": ["x"]}', b'{"release": "a\\u0000b"}']
)
def test_json_of_another_form_says_nothing(data: bytes) -> None:
    assert parse_note(data) == TriggerNote()


def test_no_more_than_a_kibibyte_is_read(site: Path) -> None:
    (site / "trigger").write_bytes(b"x" * 2**20)
    assert read_note(site / "trigger") == TriggerNote(note="x" * NOTE_BYTES)


def test_nothing_is_read_through_a_link_of_either_kind(site: Path) -> None:
    (site / "secret").write_text("password")
    shell("ln -sfn secret trigger", site)
    assert read_note(site / "trigger") == TriggerNote()
    shell("ln -f secret trigger", site)
    assert not (site / "trigger").is_symlink()
    assert read_note(site / "trigger") == TriggerNote()


@pytest.mark.parametrize("command", ["mkfifo trigger", "mkdir trigger", "ln -s /dev/zero trigger", "true"])
def test_what_is_no_regular_file_is_not_read(site: Path, command: str) -> None:
    shell(f"rm trigger; {command}", site)
    assert read_note(site / "trigger") == TriggerNote()


def test_what_may_not_be_read_has_no_note(unprivileged: Path) -> None:
    trigger = unprivileged / "trigger"
    trigger.write_text("words")
    assert read_note(trigger) == TriggerNote(note="words")
    trigger.chmod(0)
    assert read_note(trigger) == TriggerNote()
    assert observe(unprivileged / "current", trigger).trigger
