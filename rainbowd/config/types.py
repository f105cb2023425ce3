"""The types of the values in ``rainbowd.json``, as annotations for pydantic.

The description of a type completes the sentence "found ...; expected ..." in every error about it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from signal import Signals
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo

from rainbowd.address import Address
from rainbowd.config import parsers
from rainbowd.config_paths import EXPECTED_PATH, absolute_path

WORKERS_MAX = 64
APP_NAME_MAX = 64
"""The maximum number of characters of a name, which must fit into a browser's tab and a line of a terminal."""

PROCESS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
EXPECTED_PROCESS_NAME = "a name of 1 to 32 letters, digits, - and _, which begins with a letter or a digit"
"""The names of companion processes are parts of file names, environment variables and lines of the log."""

EXPECTED_COMMAND = "a command: a string for the shell, or a list of strings; without NUL"


def _base(info: ValidationInfo) -> Path:
    """Return the directory that relative paths are relative to: that of the config file."""
    base = (info.context or {}).get("release_base" if info.field_name == "release" else "base")
    return base if isinstance(base, Path) else Path.cwd()


def _path(value: object, info: ValidationInfo) -> Path:
    return value if isinstance(value, Path) else absolute_path(value, _base(info))


def _path_or_off(value: object, info: ValidationInfo) -> Path | None:
    return None if value is None else _path(value, info)


def _app_log(value: object, info: ValidationInfo) -> Literal["stdout"] | Path | None:
    return "stdout" if value == "stdout" else _path_or_off(value, info)


def _listen(value: object, info: ValidationInfo) -> Address:
    return parsers.parse_listen(value, _base(info))


def _command_or_off(value: object) -> str | tuple[str, ...] | None:
    return None if value is None else parsers.parse_run(value)


def _name_or_off(value: object) -> str | int | None:
    """Return the name or the ID of a user or a group, or None; raise ValueError for other values."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is None or is_number or (isinstance(value, str) and value and "\0" not in value):
        return value  # type: ignore[return-value]
    raise ValueError


def _workers(value: object) -> int | str:
    """Return a number of processes, or ``auto``; raise ValueError for other values."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= WORKERS_MAX
    if is_number or value == "auto":
        return value  # type: ignore[return-value]
    raise ValueError


def _app_name(value: str | None) -> str | None:
    """Return the name of the app; raise ValueError if it is empty, too long or contains control characters."""
    if value is not None and not (value.isprintable() and 1 <= len(value) <= APP_NAME_MAX and value.strip()):
        raise ValueError
    return value


def _as_tuple(value: object) -> object:
    """Return a list as a tuple, which a frozen model needs."""
    return tuple(value) if isinstance(value, list) else value


def _as_tuple_of_any(value: object) -> object:
    return _as_tuple(value) if isinstance(value, list | tuple) else (value,)


def _distinct(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    if len(set(addresses)) < len(addresses):
        raise ValueError("each address once")
    return addresses


def _seconds_as_object(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"seconds": value} if is_number else value


def _steps(steps: tuple[float, ...]) -> tuple[float, ...]:
    is_rising = all(before < after for before, after in zip((0, *steps), (*steps, 100), strict=False))
    if not is_rising:
        raise ValueError
    return steps


def _canary_by(value: str) -> str:
    kind, _, name = value.partition(":")
    return _require(value == "client" or (kind in {"cookie", "header"} and bool(parsers.TOKEN.fullmatch(name))), value)


def _asset_prefix(value: str) -> str:
    is_prefix = value.startswith("/") and value.isascii() and value.isprintable() and not set(value) & set(" ?#")
    return _require(is_prefix, value, 'the beginning of a path, such as "/assets/"')


def _health(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _require(is_good: bool, value: str, expected: str = "") -> str:
    if not is_good:
        raise ValueError(expected)
    return value


def _health_path(value: str) -> str:
    return _require(value.startswith("/") and value.isprintable(), value)


def _health_host(value: str) -> str:
    return _require(bool(value) and parsers.is_field_value(value) and not set(value) & set("\t /@?#"), value)


def _header_name(value: str) -> str:
    _require(value.lower() != "host", value, "other headers here: the host is health.host")
    return _require(parsers.TOKEN.fullmatch(value) is not None, value, "a header's name, a token of RFC 9110")


def _header_value(value: str) -> str:
    return _require(parsers.is_field_value(value), value, "printable ASCII without CR or LF")


def _process_name(value: str) -> str:
    return _require(PROCESS_NAME.fullmatch(value) is not None, value, EXPECTED_PROCESS_NAME)


def _env_name(value: str) -> str:
    return _require(bool(value) and not set(value) & set("=\0"), value, "a name without = and NUL")


def _env_value(value: str) -> str:
    return _require("\0" not in value, value, "a string without NUL")


FOREVER_SECONDS = 1e9
"""The longest time, some thirty years, which every clock can represent; longer ones are cut to it."""


def _at_most_forever(seconds: float | None) -> float | None:
    return None if seconds is None else min(seconds, FOREVER_SECONDS)


Bounded = AfterValidator(_at_most_forever)
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a number of seconds, 0 or more"), Bounded]
SecondsAboveZero = Annotated[
    float, Field(gt=0, allow_inf_nan=False, description="a number of seconds above 0"), Bounded
]
SecondsOrOff = Annotated[
    float | None,
    Field(gt=0, allow_inf_nan=False, description="a number of seconds above 0, or null for no limit"),
    Bounded,
]
CountOrOff = Annotated[int | None, Field(gt=0, description="a whole number above 0, or null for no limit")]
Workers = Annotated[
    int | Literal["auto"], PlainValidator(_workers), Field(description='a whole number from 1 to 64, or "auto"')
]
FilePath = Annotated[Path, PlainValidator(_path), Field(description=EXPECTED_PATH)]
FilePathOrOff = Annotated[Path | None, PlainValidator(_path_or_off), Field(description=f"{EXPECTED_PATH}, or null")]
NameOrOff = Annotated[
    str | int | None,
    PlainValidator(_name_or_off),
    Field(description="a name or a number, or null"),
]
NameOfApp = Annotated[
    str | None, AfterValidator(_app_name), Field(description=f"1 to {APP_NAME_MAX} printable characters, or null")
]
AppLog = Annotated[
    Literal["stdout"] | Path | None, PlainValidator(_app_log), Field(description='"stdout", a path, or null')
]
Command = Annotated[str | tuple[str, ...], PlainValidator(parsers.parse_run), Field(description=EXPECTED_COMMAND)]
CompanionCommand = Annotated[
    str | tuple[str, ...], PlainValidator(parsers.parse_companion_run), Field(description=EXPECTED_COMMAND)
]
CommandOrOff = Annotated[
    str | tuple[str, ...] | None,
    PlainValidator(_command_or_off),
    Field(description=f"{EXPECTED_COMMAND}; or null"),
]
Environment = Annotated[
    dict[Annotated[str, AfterValidator(_env_name)], Annotated[str, AfterValidator(_env_value)]],
    Field(description="an object of strings"),
]
ProcessName = Annotated[str, AfterValidator(_process_name)]
HealthPath = Annotated[str, AfterValidator(_health_path), Field(description='a path that begins with /, such as "/up"')]
Headers = Annotated[
    dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header_value)]],
    Field(description="an object of strings"),
]
Host = Annotated[str, AfterValidator(_health_host), Field(description="a host name, optionally with a port")]
Listen = Annotated[Address, PlainValidator(_listen), Field(description="HOST:PORT, [V6]:PORT or unix:PATH")]
Listens = Annotated[
    tuple[Annotated[Address, PlainValidator(_listen)], ...],
    BeforeValidator(_as_tuple_of_any),
    AfterValidator(_distinct),
    Field(min_length=1, description="HOST:PORT, [V6]:PORT or unix:PATH, or a list of them"),
]
Signal = Annotated[Signals, PlainValidator(parsers.parse_signal), Field(description='a signal\'s name such as "TERM"')]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, PlainValidator(parsers.parse_network)], ...],
    BeforeValidator(_as_tuple),
    Field(description='a list of networks such as "10.0.0.0/8"'),
]
CanarySteps = Annotated[
    tuple[float, ...],
    BeforeValidator(_as_tuple),
    AfterValidator(_steps),
    Field(description="a list of rising percentages above 0 and below 100, such as [5, 25]"),
]
CanaryBy = Annotated[str, AfterValidator(_canary_by), Field(description='"client", "cookie:NAME" or "header:NAME"')]
AssetPrefixes = Annotated[
    tuple[Annotated[str, AfterValidator(_asset_prefix)], ...],
    BeforeValidator(_as_tuple),
    Field(description='a list of path prefixes such as "/assets/"'),
]
SecondsAsObject = BeforeValidator(_seconds_as_object)
PathAsObject = BeforeValidator(_health)
