"""Files of ``KEY=VALUE`` lines, the place for an app's secrets: no message shows a value."""

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
    """One line of an env file."""

    line: int
    name: str
    value: str
    is_quoted: bool


def read_env_file(path: Path) -> dict[str, str]:
    """Read the variables of ``path``; of a name given twice the last value holds.

    A value may stand in matching quotes, which are removed, and a comment may follow them.  Nothing else in a value is
    special: no escapes, no ``$NAME``, and ``#`` in a value without quotes is part of it.

    Raises:
        ConfigError: the file cannot be read, or has lines that are no assignment; their numbers are named.
    """
    return {one.name: one.value for one in _assignments(path)}


def doubtful_lines(path: Path) -> list[str]:
    """Return a warning for each value that seems to have a comment in it, as ``WORKERS=4 # per core`` has.

    Raises:
        ConfigError: as ``read_env_file``.
    """
    return [
        f"{path}: line {one.line}: the value of {one.name} has a # in it, and all that follows; "
        "put the comment on a line of its own, or the value in quotes"
        for one in _assignments(path)
        if not one.is_quoted and _COMMENT.search(one.value)
    ]


def _assignments(path: Path) -> list[_Assignment]:
    found: list[_Assignment] = []
    problems: list[str] = []
    if os.geteuid() == ROOT:  # before it is read: afterwards another file could be there
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
