"""Reading a JSON or text file that a person wrote, and showing its keys and values in messages.

Only the standard library is used, because the commands that must start fast read the config through this module.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from rainbowd.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def read_json(path: Path) -> dict[str, object]:
    """Read a file that holds one JSON object (RFC 8259) without duplicate keys.

    Args:
        path: the file; named in every error.

    Raises:
        ConfigError: the file cannot be read, or holds something else; every duplicate key is named.
    """
    text = read_text(path, expected="a JSON file")
    try:
        value, duplicates = _parse(text)
    except json.JSONDecodeError as error:
        found = format_value(text[error.pos]) if error.pos < len(text) else "the end of the file"
        position = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{path}: {position}: found {found}; expected JSON ({error.msg})") from None
    except UnicodeEncodeError:
        raise ConfigError(f"{path}: found half a surrogate pair in a string; expected Unicode text") from None
    except (RecursionError, ValueError):
        raise ConfigError(f"{path}: JSON is nested too deeply, or contains a number that is too long") from None
    if duplicates:
        raise ConfigError(*(f"{path}: {key}: found twice; expected each key once" for key in duplicates))
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: found {describe_type(value)}; expected an object, {{...}}")
    return value


def _parse(text: str) -> tuple[object, list[str]]:
    """Return the value of a JSON text, and the paths of the keys that it contains more than once."""
    repeated: list[tuple[object, str]] = []

    def build(pairs: list[tuple[str, object]]) -> dict[str, object]:
        built: dict[str, object] = {}
        for key, value in pairs:
            if key in built and (built, key) not in repeated:
                repeated.append((built, key))
            built[key] = value
        return built

    value = json.loads(text, object_pairs_hook=build)
    json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair, "\ud800", fits no path and no argument
    if not repeated:
        return value, []
    objects = _objects(value)
    return value, [key_path((*place, key)) for owner, key in repeated for place, built in objects if built is owner]


def _objects(value: object, place: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], object]]:
    """Return every object in a JSON value, each with the keys and indexes that lead to it."""
    if isinstance(value, dict):
        inner = [found for key, item in value.items() for found in _objects(item, (*place, key))]
        return [(place, value), *inner]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _objects(item, (*place, index))]
    return []


def read_text(path: Path, *, expected: str) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Args:
        path: the file; named in every error.
        expected: what the file should have been, for the errors.

    Raises:
        ConfigError: the file cannot be read or is not UTF-8.
    """
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line}: found bytes that are not UTF-8; expected {expected}") from None


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, without ever waiting for another kind of file: open(2), O_NONBLOCK.

    Another account may put a FIFO, a device or a terminal in place of the file, even at the last moment.

    Args:
        path: the file; a symlink is followed.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        is_directory = stat.S_ISDIR(mode)
        code, reason = (errno.EISDIR, "Is a directory") if is_directory else (errno.EINVAL, "not a regular file")
        raise OSError(code, reason, str(path))
    return os.fdopen(fd, "rb")


def key_path(place: tuple[str | int, ...]) -> str:
    """Return a key's path as messages show it, such as ``health.headers`` or ``listen[1]``.

    Args:
        place: the keys and list indexes that lead to the key, from the outermost.
    """
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if part.replace("-", "_").isidentifier() or part == "$schema" else format_value(part)
            text += f".{name}" if text else name
    return text


def describe_type(value: object) -> str:
    """Return the type of a JSON ``value`` in words, for messages that must not show the value."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {str: "a string", int: "a number", float: "a number", dict: "an object"}
    return names.get(type(value), "a list")


def format_value(value: object, *, characters: int = 60) -> str:
    """Return a JSON ``value`` as messages show it: one line, without control characters, shortened.

    Args:
        value: anything that JSON can hold; other objects are shown by their ``str()``.
        characters: the number of characters after which the text is cut.
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not text.isprintable():
        text = json.dumps(value, default=str)
    return text if len(text) <= characters else f"{text[:characters]}..."
