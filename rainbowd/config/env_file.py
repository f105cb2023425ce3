"""Files of ``KEY=VALUE`` lines, for the app's secrets: no error or warning shows a value."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.config.account import ROOT
from rainbowd.config.deploy_access import check_only_root_writes
from rainbowd.errors import ConfigError
from rainbowd.json_file import read_text

if TYPE_CHECKING:
    from pathlib import Path

FILE = "a file of KEY=VALUE lines"
EXPECTED = "KEY=VALUE, a comment after #, or nothing"

_LINE = re.compile(
    r"""(?:export[ \t]+)?
        (?P<name>[^\s='"\#\0]+) [ \t]* = [ \t]*
        (?: (?P<quoted> "[^"\0]*" | '[^'\0]*') (?: [ \t]+ \#[^\0]* )? | (?P<bare> [^"'\0][^\0]* | ) )""",
    re.VERBOSE,
)

_COMMENT = re.compile(r"[ \t]#")


class _Assignment(NamedTuple):
    """One variable of an env file, with its line number."""

    line: int
    name: str
    value: str
    is_quoted: bool


def read_env_file(path: Path) -> dict[str, str]:
    """Read the variables of a file; if a name is given twice, the last value wins.

    A value can be in matching quotes, which are removed, and a comment can follow the closing quote.  Nothing else in a
    value is special: no escapes, no ``$NAME``, and ``#`` in a value without quotes is part of it.

    Args:
        path: of the file.

    Raises:
        ConfigError: the file cannot be read, or has lines that are not assignments; their line numbers are named.
    """
    return {variable.name: variable.value for variable in _assignments(path)}


def doubtful_lines(path: Path) -> list[str]:
    """Return a warning for each value that seems to contain a comment, as in ``WORKERS=4 # per core``.

    Args:
        path: of the file.

    Raises:
        ConfigError: as ``read_env_file``.
    """
    return [
        f"{path}: line {variable.line}: the value of {variable.name} includes the # and the text after it; "
        "put the comment on a line of its own, or the value in quotes"
        for variable in _assignments(path)
        if not variable.is_quoted and _COMMENT.search(variable.value)
    ]


def _assignments(path: Path) -> list[_Assignment]:
    found: list[_Assignment] = []
    problems: list[str] = []
    if os.geteuid() == ROOT:  # before reading it: afterwards it could be another file
        check_only_root_writes(path, expected=FILE)
    for number, text in enumerate(read_text(path, expected=FILE).split("\n"), start=1):
        line = text.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            problems.append(f"{path}: line {number}: found something else; expected {EXPECTED}")
        elif match["quoted"]:
            found.append(_Assignment(number, match["name"], match["quoted"][1:-1], True))
        else:
            found.append(_Assignment(number, match["name"], match["bare"], False))
    if problems:
        raise ConfigError(*problems)
    return found
