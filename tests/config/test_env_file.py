from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rainbowd.config import (
    doubtful_lines,
    read_env_file,
)
from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

ENV_FILE = """\
\ufeff# comment
A=1

export B = two words # and no comment
C="quoted # 'inside' "
D='single "inside" '
E=
F=a=b"c"
G-h.i=dots
\texport=name
H="quoted" # why
I='' \t# why
J=a#b
A=last
"""


def test_an_env_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(ENV_FILE.replace("\n", "\r\n"))
    assert read_env_file(file) == {
        "A": "last",
        "B": "two words # and no comment",
        "C": "quoted # 'inside' ",
        "D": 'single "inside" ',
        "E": "",
        "F": 'a=b"c"',
        "G-h.i": "dots",
        "export": "name",
        "H": "quoted",
        "I": "",
        "J": "a#b",
    }


def test_bad_lines_of_an_env_file_are_named_by_number_without_their_values(tmp_path: Path) -> None:
    file = tmp_path / "env"
    lines = [
        "A=1",
        "hush",
        "=hush",
        "A B=hush",
        'A="hush',
        'A="hush" hush',
        'A="hush"#hush',
        "A='hush\"",
        "A=hu\0sh",
        "export hush",
    ]
    file.write_text("\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        read_env_file(file)
    assert [line.split(":")[1] for line in caught.value.problems] == [f" line {n}" for n in range(2, 11)]
    assert "hu" not in str(caught.value).replace(str(file), "")


def test_an_env_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none: cannot be read"):
        read_env_file(tmp_path / "none")


def test_a_comment_that_became_part_of_a_value_is_warned_of_without_the_value(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=hush # per core\nB='a # b'\nC=\"x\" # why\nD=a#b\nE=hush\t#\n")
    first, second = doubtful_lines(file)
    assert first.startswith(f"{file}: line 1: the value of A includes the #")
    assert second.startswith(f"{file}: line 5: the value of E includes the #")
    assert "hush" not in first + second
