"""What a command does with an output that is closed, full or without a reader, and with words that are no text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rainbowd.cli.parser import make_parser

ROOT = Path(__file__).parents[2]


def shell(directory: Path, redirected: str, *words: str, config: str = "{}", **variables: str) -> tuple[int, str, str]:
    (directory / "rainbowd.json").write_text(config)
    done = subprocess.run(
        ["bash", "-c", f'"$0" -m rainbowd "$@" {redirected}; exit "${{PIPESTATUS[0]}}"', sys.executable, *words],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("redirected", [">&-", "<&- >&- 2>&-"])
def test_a_closed_output_is_not_an_error(tmp_path: Path, redirected: str) -> None:
    assert shell(tmp_path, redirected, "history") == (0, "", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_reported_and_not_a_bug(tmp_path: Path, unbuffered: str) -> None:
    status, _, err = shell(tmp_path, ">/dev/full", "history", PYTHONUNBUFFERED=unbuffered)
    assert (status, err) == (1, "rainbowd: cannot write to stdout: No space left on device\n")


def test_a_closed_pipe_is_not_a_bug(tmp_path: Path) -> None:
    assert shell(tmp_path, "| true", "completion", "bash")[::2] in {(0, ""), (1, "")}


def test_the_exit_status_is_the_same_if_stderr_cannot_be_written(tmp_path: Path) -> None:
    for redirected in ("2>&-", "2>/dev/full", "2>&1 | true"):
        assert shell(tmp_path, redirected, "status") == (3, "", "")


def test_a_message_contains_no_terminal_escapes(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    config = '{"release": "current"}'
    status, _, err = shell(tmp_path, "", "deploy", "\x1b[31mred", config=config)
    assert (status, "\x1b" in err) == (2, False)
    assert r"no such release: \x1b[31mred: found no directory" in err


@pytest.mark.parametrize(("given", "note"), [("grün".encode(), "grün"), (b"a\xff", r"a\xff"), (b"\x1b\n", "\x1b\n")])
def test_a_note_is_text_in_every_locale(given: bytes, note: str) -> None:
    in_c = given.decode("ascii", "surrogateescape")
    assert make_parser().parse_args(["deploy", "--note", in_c]).note == note


def test_a_removed_working_directory_is_reported(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", 'rmdir "$PWD"; exec "$0" -m rainbowd status', sys.executable],
        cwd=gone,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "rainbowd: the working directory no longer exists\n")


def test_a_missing_argument_is_reported_without_the_words_for_shells(tmp_path: Path) -> None:
    status, _, err = shell(tmp_path, "", "completion")
    assert (status, err.splitlines()[-1]) == (
        2,
        "rainbowd completion: error: the following arguments are required: bash|zsh|fish",
    )


def test_help_is_a_command_too(tmp_path: Path) -> None:
    assert shell(tmp_path, "", "help") == shell(tmp_path, "", "--help")
    assert shell(tmp_path, "", "help", "deploy") == shell(tmp_path, "", "deploy", "--help")
    assert shell(tmp_path, "", "help", "none")[0] == 2
