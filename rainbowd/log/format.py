"""The format of a log entry: JSON for programs, coloured for a terminal, or plain text."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from rainbowd.plain_text import escape_control
from rainbowd.timestamp import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

Form = Literal["plain", "colour", "json"]

DIM, RESET = "\x1b[2m", "\x1b[0m"

_BELOW = ("output", "exception")
"""Fields with several lines of text, which are written below the entry, indented."""

_BARE = re.compile(r"[^\s\"'=\\]+")
_LEVEL_COLOURS = {"debug": DIM, "info": "\x1b[32m", "warning": "\x1b[33m"}
_ERROR_COLOUR = "\x1b[31m"
_INDENT = "    "


def format_entry(form: Form, level: str, event: str, fields: Mapping[str, Any]) -> bytes:
    """Return an entry of this moment as bytes, with its newline.

    Args:
        form: ``json``, ``colour`` or ``plain``.
        level: the level's name.
        event: the message.
        fields: the other fields, in order.
    """
    at = now()
    if form == "json":
        return encode(json.dumps({"at": at, "level": level, "event": event, **fields}, default=str))
    dim, colour, reset = "", "", ""
    if form == "colour":
        dim, colour, reset = DIM, _LEVEL_COLOURS.get(level, _ERROR_COLOUR), RESET
    words = [f"{dim}{at}{reset}", f"{colour}{level:<5}{reset}", escape_control(event)]
    words += [
        f"{dim}{escape_control(key)}={reset}{_value(value)}" for key, value in fields.items() if key not in _BELOW
    ]
    below = [line for key in _BELOW for line in _lines(fields.get(key))]
    return encode("\n".join([" ".join(words), *(f"{_INDENT}{escape_control(line)}" for line in below)]))


def encode(line: str) -> bytes:
    """Return a line as bytes, with its newline."""
    return line.encode(errors="backslashreplace") + b"\n"


def now() -> str:
    """Return the current time in UTC and RFC 3339, with milliseconds."""
    return timestamp(datetime.now(UTC))


def _value(value: object) -> str:
    """Return a field's value as one word: without quotes if it can only be read one way, otherwise as JSON."""
    if isinstance(value, str) and value.isprintable() and _BARE.fullmatch(value):
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, float):
        value = round(value, 3)
    if isinstance(value, str) and value.isprintable() and _BARE.fullmatch(value):  # such as a path
        return value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return escape_control(text)


def _lines(value: object) -> list[str]:
    if not value:
        return []
    return [str(line) for line in value] if isinstance(value, list) else str(value).splitlines()
