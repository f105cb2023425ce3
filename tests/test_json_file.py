from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from rainbowd.errors import ConfigError
from rainbowd.json_file import format_value, read_json, read_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rainbowd.json"


def problem_of(file: Path, content: str | bytes) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        read_json(file)
    assert all(line.startswith(f"{file}: ") for line in caught.value.problems)
    return "\n".join(line.removeprefix(f"{file}: ") for line in caught.value.problems)


def test_an_object_is_read_as_it_is(file: Path) -> None:
    file.write_text('{"run": "a", "env": {"B": "\u00e9"}, "listen": [1, null]}')
    assert read_json(file) == {"run": "a", "env": {"B": "\u00e9"}, "listen": [1, None]}


def test_a_byte_order_mark_is_ignored(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf{"run": "a"}')
    assert read_json(file) == {"run": "a"}


TRAILING_COMMA = (
    'line 2, column 9: found ","; expected JSON (Illegal trailing comma'
    if sys.version_info >= (3, 13)
    else 'line 3, column 3: found "}"; expected JSON'
)
"""From 3.13 on, Python's parser points at the comma itself."""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{\n  "a": 1,\n  }', TRAILING_COMMA),
        ('{"a": 1} // why', 'line 1, column 10: found "/"; expected JSON'),
        ("{'a': 1}", 'line 1, column 2: found "\'"; expected JSON'),
        ('{"a": ', "found the end of the file; expected JSON"),
        ("", "line 1, column 1: found the end of the file; expected JSON"),
        ("[]", "found a list; expected an object"),
        ("null", "found null; expected an object"),
        ('"a"', "found a string; expected an object"),
        ("5", "found a number; expected an object"),
        (b'{\n"a": "\xff"}', "line 2: found bytes that are not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "line 1: found bytes that are not UTF-8"),
        ('{"a": "\\ud800"}', "found half a surrogate pair"),
        ("[" * 100_000, "JSON is nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "contains a number that is too long"),
    ],
)
def test_invalid_json_is_refused_with_the_line_and_column(file: Path, content: str | bytes, problem: str) -> None:
    assert problem in problem_of(file, content)


def test_duplicate_keys_are_refused_by_their_path_each_once(file: Path) -> None:
    content = '{"a": {"b": 1, "b": 2, "b": 3}, "c": [{}, {"d": 1, "d": 1}], "e": 1, "e": {}, "f": {"b": 1}}'
    problems = problem_of(file, content).splitlines()
    assert sorted(problems) == [f"{key}: found twice; expected each key once" for key in ("a.b", "c[1].d", "e")]


def test_control_characters_of_a_key_do_not_reach_the_terminal(file: Path) -> None:
    assert problem_of(file, '{"\\u001b[2J": 1, "\\u001b[2J": 1}').isprintable()
    assert format_value("\x1b\x9b\n").isprintable()


def test_a_long_value_is_shown_shortened() -> None:
    assert len(format_value("x" * 1000)) < 80


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda file: None, "No such file or directory"),
        (lambda file: file.mkdir(), "Is a directory"),
        (lambda file: file.symlink_to(file), "Too many levels of symbolic links"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(file: Path, prepare: object, reason: str) -> None:
    assert callable(prepare)
    prepare(file)
    with pytest.raises(ConfigError) as caught:
        read_text(file, expected="a poem")
    assert str(caught.value) == f"{file}: cannot be read ({reason}); expected a poem"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named_with_the_reason(file: Path) -> None:
    file.write_text("{}")
    file.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        read_json(file)


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "socket"])
def test_a_special_file_is_refused_and_never_waited_for(file: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "directory":
        file.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(file))
    with pytest.raises(ConfigError, match=r"cannot be read \(.+\); expected a JSON file"):
        read_json(file)
