"""Files of ``KEY=VALUE`` lines, the place for an app's secrets: no message shows a value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rainbowd.errors import ConfigError
from rainbowd.locations import read_text

if TYPE_CHECKING:
    from pathlib import Path

EXPECTED = "KEY=VALUE, a comment after #, or nothing"

_LINE = re.compile(
    r"""(?:export[ \t]+)?
        (?P<name>[^\s='"\#\0]+) [ \t]* = [ \t]*
        (?P<value> "[^"\0]*" | '[^'\0]*' | [^"'\0][^\0]* | )""",
    re.VERBOSE,
)


def read_env_file(path: Path) -> dict[str, str]:
    """Read the variables of ``path``; of a name given twice the last value holds.

    A value may stand in matching quotes, which are removed; nothing else in it is special.

    Raises:
        ConfigError: the file cannot be read, or has lines that are no assignment; their numbers are named.
    """
    variables: dict[str, str] = {}
    problems: list[str] = []
    for number, text in enumerate(read_text(path, expected="a file of KEY=VALUE lines").split("\n"), start=1):
        line = text.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            problems.append(f"{path}: line {number}: found something else; expected {EXPECTED}")
        else:
            variables[found["name"]] = _unquoted(found["value"])
    if problems:
        raise ConfigError(*problems)
    return variables


def _unquoted(value: str) -> str:
    return value[1:-1] if value.startswith(('"', "'")) else value
