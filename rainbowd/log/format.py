"""One entry of the log as bytes: for programs, for a terminal, or plain."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from rainbowd.plain_text import inert

if TYPE_CHECKING:
    from collections.abc import Mapping

Form = Literal["plain", "colour", "json"]

DIM, RESET = "\x1b[2m", "\x1b[0m"

_BELOW = ("output", "exception")
"""Fields of many lines: each has a line of its own, below the entry."""

_BARE = re.compile(r"[^\s\"'=\\]+")
_LEVEL_COLOURS = {"debug": DIM, "info": "\x1b[32m", "warning": "\x1b[33m"}
_ERROR_COLOUR = "\x1b[31m"
_INDENT = "    "


def format_entry(form: Form, level: str, event: str, fields: Mapping[str, Any], at: str | None = None) -> bytes:
    """An entry, with its end.

    Args:
        form: how it is to look.
        level: its name.
        event: what happened.
        fields: what is told of it.
        at: when it happened; by default now.
    """
    at = at or now()
    if form == "json":
        return encode(json.dumps({"at": at, "level": level, "event": event, **fields}, default=str))
    dim, colour, reset = "", "", ""
    if form == "colour":
        dim, colour, reset = DIM, _LEVEL_COLOURS.get(level, _ERROR_COLOUR), RESET
    words = [f"{dim}{at}{reset}", f"{colour}{level:<5}{reset}", inert(event)]
    words += [f"{dim}{inert(key)}={reset}{_value(value)}" for key, value in fields.items() if key not in _BELOW]
    below = [line for key in _BELOW for line in _lines(fields.get(key))]
    return encode("\n".join([" ".join(words), *(f"{_INDENT}{inert(line)}" for line in below)]))


def encode(line: str) -> bytes:
    """A line with its end."""
    return line.encode(errors="backslashreplace") + b"\n"


def now() -> str:
    """The time, as every entry has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(value: object) -> str:
    """A field's value as one word: bare where that is clear, else as JSON."""
    if isinstance(value, str) and value.isprintable() and _BARE.fullmatch(value):
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, float):
        value = round(value, 3)
    if isinstance(value, str) and value.isprintable() and _BARE.fullmatch(value):  # what was a path
        return value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return inert(text)


def _lines(value: object) -> list[str]:
    if not value:
        return []
    return [str(line) for line in value] if isinstance(value, list) else str(value).splitlines()
