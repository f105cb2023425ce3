"""Which file the configuration is in, and where its app and its state are: the standard library alone.

The commands that talk to a running agent read no more than this and leave judging the rest to the agent.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rainbowd.errors import ConfigError

CONFIG_NAME = "rainbowd.json"
LEGACY_CONFIG_NAME = "rainbow.conf.json"
CONFIG_VARIABLE = "RAINBOWD_CONFIG"
"""Names the config file for every command, unless ``--config`` does."""

DEFAULT_RELEASE = "."
DEFAULT_TRIGGER_FILE = "redeploy.trigger"
DEFAULT_STATE_DIR = ".rainbowd"

EXPECTED_PATH = "a path, neither empty nor with a NUL in it"


class Locations(NamedTuple):
    """Where things are; all paths are absolute and none has its symlinks resolved.

    Attributes:
        config_file: the file that was read.
        release: the app's directory or a symlink to it.
        trigger_file: what is touched to deploy; None where that is off.
        state_dir: where the agent tells what it does.
    """

    config_file: Path
    release: Path
    trigger_file: Path | None
    state_dir: Path


def named_config(given: Path | None) -> Path | None:
    """Return the config file that ``--config`` or RAINBOWD_CONFIG names, in this order; None if neither does."""
    return given or (Path(name) if (name := os.environ.get(CONFIG_VARIABLE)) else None)


def find_config(given: Path | None) -> Path:
    """Return the config file to use: the one that is named, else the one in the working directory.

    Args:
        given: of ``--config``; None if it was not given.

    Raises:
        ConfigError: none is named, and none is there.
    """
    named = named_config(given)
    if named is not None:
        return named
    for name in (CONFIG_NAME, LEGACY_CONFIG_NAME):
        if Path(name).is_file():
            return Path(name)
    raise ConfigError(
        f"{CONFIG_NAME}: found no such file in {Path.cwd()}; "
        f"expected it there (or {LEGACY_CONFIG_NAME}), or --config FILE; `rainbowd init` writes one"
    )


def read_locations(config_file: Path) -> Locations:
    """Read ``release``, ``trigger_file`` and ``state_dir`` alone.

    Raises:
        ConfigError: the file cannot be read, is not JSON, or one of the three is not a path.
    """
    data = read_json(config_file)
    file = lasting_path(config_file)
    base = real_directory(file)

    def place(key: str, default: str) -> Path:
        value = data.get(key, default)
        try:
            return absolute_path(value, file.parent if key == "release" else base)
        except ValueError:
            raise ConfigError(f"{config_file}: {key}: found {shown(value)}; expected {EXPECTED_PATH}") from None

    is_off = data.get("trigger_file", DEFAULT_TRIGGER_FILE) is None
    return Locations(
        config_file=file,
        release=place("release", DEFAULT_RELEASE),
        trigger_file=None if is_off else place("trigger_file", DEFAULT_TRIGGER_FILE),
        state_dir=place("state_dir", DEFAULT_STATE_DIR),
    )


def lasting_path(config_file: Path) -> Path:
    """Return the path of a config file by which it is found again, wherever we are and whatever is pruned since.

    It is absolute, and has no ``..`` through a directory that may go.  A symlink to its directory stays: by
    ``current/rainbowd.json`` each release brings a config of its own.
    """
    file = config_file.absolute()
    ups = [number for number, part in enumerate(file.parts) if part == ".."]
    if not ups:
        return file
    last = ups[-1] + 1
    return Path(os.path.realpath(Path(*file.parts[:last])), *file.parts[last:])


def real_directory(config_file: Path) -> Path:
    """Return the directory of a config file, free of symlinks: the agent's own files are relative to that.

    The release alone is relative to the directory as it is written, which may be the link that a deploy turns.
    """
    return Path(os.path.realpath(config_file.absolute().parent))


def absolute_path(value: object, base: Path) -> Path:
    """A path of the config file, relative to ``base``, as an absolute one.

    ``..`` at its beginning is taken off here, so that the path does not lead through ``base`` if that is a release.

    Raises:
        ValueError: it is no path.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    path = Path(value)
    if path.parts[:1] != ("..",):
        return base / path
    directory, ahead = Path(os.path.realpath(base)), list(path.parts)
    while ahead[:1] == [".."]:
        directory = directory.parent
        del ahead[0]
    return directory.joinpath(*ahead)


def read_json(path: Path) -> dict[str, object]:
    """Read a file that holds one JSON object (RFC 8259) without duplicate keys.

    Raises:
        ConfigError: it cannot be read or is something else; every duplicate key is named.
    """
    text = read_text(path, expected="a JSON file")
    try:
        value, duplicates = _parse(text)
    except json.JSONDecodeError as error:
        found = shown(text[error.pos]) if error.pos < len(text) else "the end of the file"
        where = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{path}: {where}: found {found}; expected JSON ({error.msg})") from None
    except UnicodeEncodeError:
        raise ConfigError(f"{path}: found half a surrogate pair in a string; expected Unicode text") from None
    except (RecursionError, ValueError):
        raise ConfigError(f"{path}: found too deep a nesting or too long a number; expected a config file") from None
    if duplicates:
        raise ConfigError(*(f"{path}: {key}: found twice; expected each key once" for key in duplicates))
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: found {kind(value)}; expected an object, {{...}}")
    return value


def _parse(text: str) -> tuple[object, list[str]]:
    """A JSON text's value, and the paths of the keys that it gives more than once."""
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
    """Every object in a JSON value, with its place."""
    if isinstance(value, dict):
        inner = [found for key, item in value.items() for found in _objects(item, (*place, key))]
        return [(place, value), *inner]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _objects(item, (*place, index))]
    return []


def read_text(path: Path, *, expected: str) -> str:
    """Read a UTF-8 file, with a byte order mark or without.

    Raises:
        ConfigError: it cannot be read or is not UTF-8; ``expected`` says what it should have been.
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
    """Open a regular file for reading, and never wait for anything else: see open(2) on ``O_NONBLOCK``.

    Somebody else may put a FIFO, a device or a terminal where a file is expected, also at the last moment.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
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
    """A key's path as messages name it: ``health.headers``, ``listen[1]``."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if part.replace("-", "_").isidentifier() or part == "$schema" else shown(part)
            text += f".{name}" if text else name
    return text


def kind(value: object) -> str:
    """What a JSON value is, for messages that must not show it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {str: "a string", int: "a number", float: "a number", dict: "an object"}
    return names.get(type(value), "a list")


def shown(value: object, *, characters: int = 60) -> str:
    """A JSON value as messages show it: one line, shortened, nothing in it that a terminal would obey."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not text.isprintable():
        text = json.dumps(value, default=str)
    return text if len(text) <= characters else f"{text[:characters]}..."
