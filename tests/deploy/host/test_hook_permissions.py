from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from rainbowd.config import Config, HookSettings
from rainbowd.deploy.host.hook_permissions import check_file_permissions, check_hook_permissions, first_word
from rainbowd.errors import ConfigError
from tests.accounts import USER, needs_root, uid

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release of the other user's, with a program in it."""
    release = tmp_path / "v1"
    release.mkdir()
    program(release / "migrate")
    if os.geteuid() == 0:
        os.chown(release, uid(), -1)
    return release


def program(path: Path, first_line: str = "#!/bin/sh") -> Path:
    path.write_text(f"{first_line}\n")
    path.chmod(0o755)
    return path


def config(command: object, **changes: object) -> Config:
    return Config(run="app", warmup=0, hooks=HookSettings(before_launch=command), **changes)  # type: ignore[arg-type]


def refused(release: Path, command: object, **changes: object) -> str:
    """Why the hook is refused; empty where it is not."""
    try:
        check_hook_permissions(config(command, **changes), release, {"PATH": os.environ["PATH"]})
    except ConfigError as error:
        return str(error)
    return ""


@needs_root
@pytest.mark.parametrize("command", [["./migrate"], ["{release}/migrate"], "./migrate", "A=1 exec ./migrate --all"])
def test_a_program_in_a_release_of_somebody_elses_is_refused_to_root(release: Path, command: object) -> None:
    said = refused(release, command)
    assert said.startswith("hooks.before_launch: ")
    assert f"found the directory {release} that may be written by {USER}" in said


@needs_root
@pytest.mark.parametrize("command", [["true"], ["sh", "-c", "./migrate"], "true", "cd . && ./migrate", None])
def test_a_program_of_roots_is_not(release: Path, command: object) -> None:
    assert refused(release, command) == ""


@needs_root
def test_what_a_shell_of_another_users_starts_is_that_users_affair(release: Path) -> None:
    assert refused(release, "./migrate", user=USER) == ""
    assert refused(release, "./migrate", user="root") != ""
    assert refused(release, ["./migrate"], user=USER) != ""


@needs_root
def test_the_interpreter_of_a_script_counts_too(tmp_path: Path, release: Path) -> None:
    script = program(tmp_path / "hook", f"#!{release}/migrate")
    assert f"{release}/migrate: found the directory {release}" in refused(release, [str(script)])
    program(script, "#!/usr/bin/env python3")
    assert refused(release, [str(script)]) == ""


@needs_root
def test_a_link_to_a_program_of_somebody_elses_counts(tmp_path: Path, release: Path) -> None:
    (tmp_path / "hook").symlink_to(release / "migrate")
    assert f"found the directory {release}" in refused(release, [str(tmp_path / "hook")])


@needs_root
def test_what_is_not_there_is_not_judged(release: Path) -> None:
    assert refused(release, ["./none"]) == ""
    assert refused(release / "gone", ["./none"]) == ""


def test_who_is_not_root_may_run_what_others_may_write(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (release / "migrate").chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert refused(release, ["./migrate"]) == ""
    check_file_permissions(release / "none.json", config(["./migrate"]))


@needs_root
def test_at_a_start_every_file_that_leads_to_root_is_judged(tmp_path: Path, release: Path) -> None:
    file, env_file = tmp_path / "rainbowd.json", tmp_path / "app.env"
    file.touch(0o644)

    def refusal(command: object = None) -> str:
        try:
            check_file_permissions(file, config(command, release=release, env_file=env_file))
        except ConfigError as error:
            return str(error)
        return ""

    assert refusal() == ""
    env_file.write_text(f"PATH={release}\n")
    assert refusal(["migrate"]).startswith("hooks.before_launch: ")
    env_file.write_text("broken\n")
    assert refusal(["migrate"]) == ""
    env_file.chmod(0o666)
    assert refusal().startswith(f"{env_file}: found a file that may be written by everybody")
    file.chmod(0o666)
    assert refusal().startswith(f"{file}: ")


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("app $PORT", "app"),
        ("  A=1 B=x exec ./app; true", "./app"),
        ("cd x && app", "cd"),
        ('"$APP" {port}', None),
        ("$APP", None),
        ("(app)", None),
        ("if app; then x; fi", "if"),
    ],
)
def test_the_first_word_of_a_shells_command_is_its_program_if_that_is_plain(command: str, word: str | None) -> None:
    assert first_word(command) == word
