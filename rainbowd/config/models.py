"""What a config may say: frozen models of ``rainbowd.json``, each key with the words for what it should be.

The description of a field ends the sentence "found ...; expected ..." of every message about it.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from signal import Signals
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
)

from rainbowd.address import Address  # noqa: TC001 - pydantic reads the annotations
from rainbowd.config import values
from rainbowd.config.values import PortRange, StatusRanges
from rainbowd.locations import (
    DEFAULT_RELEASE,
    DEFAULT_STATE_DIR,
    DEFAULT_TRIGGER_FILE,
    EXPECTED_PATH,
    absolute_path,
)

EXPECTED_COMMAND = "a command: a string for the shell, or a list of strings; without NUL"


def _base(info: ValidationInfo) -> Path:
    """The directory that relative paths are relative to: the config file's."""
    base = (info.context or {}).get("base")
    return base if isinstance(base, Path) else Path.cwd()


def _path(value: object, info: ValidationInfo) -> Path:
    return value if isinstance(value, Path) else absolute_path(value, _base(info))


def _path_or_off(value: object, info: ValidationInfo) -> Path | None:
    return None if value is None else _path(value, info)


def _app_log(value: object, info: ValidationInfo) -> Literal["stdout"] | Path | None:
    return "stdout" if value == "stdout" else _path_or_off(value, info)


def _listen(value: object, info: ValidationInfo) -> Address:
    return values.parse_listen(value, _base(info))


def _command_or_off(value: object) -> str | tuple[str, ...] | None:
    return None if value is None else values.parse_run(value)


def _name_or_off(value: object) -> str | int | None:
    """The name of a user or a group, or its number."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is None or is_number or (isinstance(value, str) and value and "\0" not in value):
        return value  # type: ignore[return-value]
    raise ValueError


def _several(value: object) -> object:
    """A list as the tuple that a frozen model keeps."""
    return tuple(value) if isinstance(value, list) else value


def _one_or_several(value: object) -> object:
    return _several(value) if isinstance(value, list | tuple) else (value,)


def _different(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    if len(set(addresses)) < len(addresses):
        raise ValueError("each address once")
    return addresses


def _health(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


def _checked(is_good: bool, value: str, expected: str = "") -> str:
    if not is_good:
        raise ValueError(expected)
    return value


def _health_path(value: str) -> str:
    return _checked(value.startswith("/") and value.isprintable(), value)


def _health_host(value: str) -> str:
    return _checked(bool(value) and values.is_field_value(value) and not set(value) & set("\t /@?#"), value)


def _header_name(value: str) -> str:
    _checked(value.lower() != "host", value, "other headers here: the host is health.host")
    return _checked(values.TOKEN.fullmatch(value) is not None, value, "a header's name, a token of RFC 9110")


def _header_value(value: str) -> str:
    return _checked(values.is_field_value(value), value, "printable ASCII without CR or LF")


def _env_name(value: str) -> str:
    return _checked(bool(value) and not set(value) & set("=\0"), value, "a name without = and NUL")


def _env_value(value: str) -> str:
    return _checked("\0" not in value, value, "a string without NUL")


FOREVER_SECONDS = 1e9
"""Longer times mean no more than this, some thirty years, which every clock that they are given to can hold."""


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
FilePath = Annotated[Path, PlainValidator(_path), Field(description=EXPECTED_PATH)]
FilePathOrOff = Annotated[Path | None, PlainValidator(_path_or_off), Field(description=f"{EXPECTED_PATH}, or null")]
CommandOrOff = Annotated[
    str | tuple[str, ...] | None,
    PlainValidator(_command_or_off),
    Field(description=f"{EXPECTED_COMMAND}; or null"),
]
NameOrOff = Annotated[
    str | int | None,
    PlainValidator(_name_or_off),
    Field(description="a name or a number, or null"),
]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(values.parse_network)]


DEFAULT_API = "127.0.0.1:7001"
DEFAULT_TRUST = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def default_trust() -> tuple[IPv4Network | IPv6Network, ...]:
    """The peers that are believed where no config says otherwise: those on this machine."""
    return DEFAULT_TRUST


class _Model(BaseModel):
    """Types as JSON has them (``"5"`` and ``true`` are no numbers), no unknown keys, no changes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Liveness(_Model):
    """How the live generation is checked on; ``interval`` in seconds, ``failures`` in a row replace it."""

    interval: SecondsAboveZero = 10
    failures: Annotated[int, Field(ge=1, description="a whole number, 1 or more")] = 3


class Health(_Model):
    """How a candidate is checked; times in seconds."""

    path: Annotated[str, AfterValidator(_health_path), Field(description='a path that begins with /, such as "/up"')]
    host: Annotated[str, AfterValidator(_health_host), Field(description="what the app is to see as its Host")] = (
        "localhost"
    )
    headers: Annotated[
        dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header_value)]],
        Field(description="an object of strings"),
    ] = {}
    status: Annotated[
        StatusRanges,
        PlainValidator(values.parse_status),
        Field(description='status codes such as "200-299,401"'),
    ] = StatusRanges.parse("200-299")
    interval: SecondsAboveZero = 0.25
    timeout: SecondsAboveZero = 5
    passes: Annotated[int, Field(ge=1, description="a whole number, 1 or more")] = 1
    deadline: SecondsAboveZero = 60
    liveness: Annotated[Liveness | None, Field(description="an object, or null")] = None


class Drain(_Model):
    """How a superseded generation is ended; times in seconds."""

    timeout: Seconds = 60
    tunnels: Seconds = 30
    stop: Seconds = 25
    signal: Annotated[
        Signals,
        PlainValidator(values.parse_signal),
        Field(description='a signal\'s name such as "TERM"'),
    ] = Signals.SIGTERM
    kill_after: Seconds = 10


class Hold(_Model):
    """How long (seconds) and how many requests may wait while nothing is live and a launch is due."""

    timeout: Seconds = 10
    limit: Annotated[int, Field(ge=0, description="a whole number, 0 or more")] = 1000


class Limits(_Model):
    """What one client may ask of the proxy; times in seconds; None is no limit."""

    head_bytes: CountOrOff = 65536
    headers: CountOrOff = 128
    body_bytes: CountOrOff = None
    connections: CountOrOff = 10000
    head_timeout: SecondsOrOff = 10
    idle_timeout: SecondsOrOff = 180
    body_timeout: SecondsOrOff = 60
    response_timeout: SecondsOrOff = 60


class Hooks(_Model):
    """Commands around a deploy; ``timeout`` in seconds for each of them."""

    before_launch: CommandOrOff = None
    after_live: CommandOrOff = None
    after_failure: CommandOrOff = None
    timeout: SecondsAboveZero = 600


class Api(_Model):
    """Control over HTTP; ``token_file`` None: a token that the agent makes, in the state directory."""

    enabled: Annotated[bool, Field(description="true or false")] = False
    listen: Annotated[Address, PlainValidator(_listen), Field(description="HOST:PORT, [V6]:PORT or unix:PATH")] = Field(
        default=DEFAULT_API, validate_default=True
    )
    token_file: FilePathOrOff = None


class LogSettings(_Model):
    """What is logged and how; ``app`` is where the app's own lines go."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description='one of "debug", "info", "warning", "error"'),
    ] = "info"
    format: Annotated[Literal["auto", "json"], Field(description='"auto" or "json"')] = "auto"
    access: Annotated[bool, Field(description="true or false")] = False
    app: Annotated[
        Literal["stdout"] | Path | None,
        PlainValidator(_app_log),
        Field(description='"stdout", a path, or null'),
    ] = "stdout"


class Config(_Model):
    """The whole of ``rainbowd.json``; paths are absolute, with their symlinks unresolved."""

    run: Annotated[
        str | tuple[str, ...],
        PlainValidator(values.parse_run),
        Field(description=EXPECTED_COMMAND),
    ]
    release: FilePath = Field(default=DEFAULT_RELEASE, validate_default=True)
    trigger_file: FilePathOrOff = Field(default=DEFAULT_TRIGGER_FILE, validate_default=True)
    listen: Annotated[
        tuple[Annotated[Address, PlainValidator(_listen)], ...],
        BeforeValidator(_one_or_several),
        AfterValidator(_different),
        Field(min_length=1, description="HOST:PORT, [V6]:PORT or unix:PATH, or a list of them"),
    ] = Field(default="0.0.0.0:7000", validate_default=True)
    ports: Annotated[
        PortRange,
        PlainValidator(values.parse_ports),
        Field(description='two ports from 1 to 65535 such as "20000-29999"'),
    ] = PortRange(20000, 29999)
    env: Annotated[
        dict[Annotated[str, AfterValidator(_env_name)], Annotated[str, AfterValidator(_env_value)]],
        Field(description="an object of strings"),
    ] = {}
    env_file: FilePathOrOff = None
    health: Annotated[
        Health | None,
        BeforeValidator(_health),
        Field(description='a path such as "/up", or an object that has one'),
    ] = None
    warmup: Annotated[
        float | None, Field(ge=0, allow_inf_nan=False, description="a number of seconds, 0 or more"), Bounded
    ] = None
    user: NameOrOff = None
    group: NameOrOff = None
    drain: Annotated[Drain, Field(description="an object")] = Drain()
    standby: Seconds = 0
    max_generations: Annotated[int, Field(ge=2, description="a whole number, 2 or more")] = 10
    hold: Annotated[Hold, Field(description="an object")] = Hold()
    limits: Annotated[Limits, Field(description="an object")] = Limits()
    hooks: Annotated[Hooks, Field(description="an object")] = Hooks()
    api: Annotated[Api, Field(description="an object")] = Api()
    trust: Annotated[
        tuple[Network, ...],
        BeforeValidator(_several),
        Field(description='a list of networks such as "10.0.0.0/8"'),
    ] = DEFAULT_TRUST
    state_dir: FilePath = Field(default=DEFAULT_STATE_DIR, validate_default=True)
    log: Annotated[LogSettings, Field(description="an object")] = LogSettings()

    @property
    def uses_socket(self) -> bool:
        """Whether a generation is reached over a Unix socket."""
        return values.wants_socket(self.run)
