"""The settings of a fleet: the connection of this machine to etcd, and the defaults of rollouts.

The annotations in this file are not strings, because pydantic would compile each string at every start.
"""

import ipaddress
import re
import socket
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from rainbowd.config.types import Bounded, FilePathOrOff, Seconds, SecondsAboveZero

FAILOVER_SECONDS = 2.0
"""How long a member can wait for one endpoint before it uses the next."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_PREFIX = re.compile(r"/(?:[A-Za-z0-9._+-]+/)*")
_WAVE = re.compile(r"[1-9]\d{0,5}|(?:[1-9]\d?|100)%|[A-Za-z0-9][A-Za-z0-9._+-]*(?: [A-Za-z0-9][A-Za-z0-9._+-]*)*")


def _name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise ValueError
    return value


def _prefix(value: str) -> str:
    if _PREFIX.fullmatch(value) is None:
        raise ValueError
    return value


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    is_plain = parts.path in {"", "/"} and not (parts.query or parts.fragment or parts.username)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
        raise ValueError
    parts.port  # noqa: B018 - raises ValueError if it is not a port
    return value.rstrip("/")


def _waves(value: str) -> str:
    if any(_WAVE.fullmatch(part.strip()) is None for part in value.split(",")):
        raise ValueError
    return value


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _insecure(value: bool, info: ValidationInfo) -> bool:
    open_ones = [one for one in info.data.get("endpoints", ()) if one.startswith("http:") and not _is_loopback(one)]
    if open_ones and not value:
        raise ValueError(f"https in {open_ones[0]}, or true, which sends the password over the network unencrypted")
    return value


def _ttl(value: float, info: ValidationInfo) -> float:
    least = FAILOVER_SECONDS * len(info.data.get("endpoints", ()))
    if value <= least:
        raise ValueError(
            f"more than {least:g}, because a member may try each endpoint for {FAILOVER_SECONDS:g} seconds"
        )
    return value


def _password_file(value: Path | None, info: ValidationInfo) -> Path | None:
    user = info.data.get("user")
    if (user is None) != (value is None):
        raise ValueError("null, because there is no user" if user is None else f"the file with the password of {user}")
    return value


def _for_tls(value: Path | None, info: ValidationInfo) -> Path | None:
    endpoints = info.data.get("endpoints", ("https:",))
    if value is not None and not any(endpoint.startswith("https:") for endpoint in endpoints):
        raise ValueError("null, or endpoints with https: there is no TLS without it")
    return value


def _key_file(value: Path | None, info: ValidationInfo) -> Path | None:
    if value is not None and info.data.get("cert_file") is None:
        raise ValueError("null, or a cert_file that it belongs to")
    return value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


FleetName = Annotated[
    str, AfterValidator(_name), Field(description="letters, digits and ._+-, beginning with a letter or digit")
]
Waves = Annotated[
    str,
    AfterValidator(_waves),
    Field(description='numbers, percentages or names of members, separated by commas, such as "1,25%,100%"'),
]
Parallel = Annotated[int, Field(ge=1, description="a whole number, 1 or more")]
OnFailure = Annotated[Literal["rollback", "halt"], Field(description='"rollback" or "halt"')]


class FleetSettings(BaseModel):
    """The membership of this machine in a fleet; times in seconds."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: FleetName
    endpoints: Annotated[
        tuple[
            Annotated[str, AfterValidator(_endpoint), Field(description="a URL of a node of etcd, https://HOST:PORT")],
            ...,
        ],
        BeforeValidator(_as_tuple),
        Field(min_length=1, description='a list of URLs such as "https://10.0.0.1:2379"'),
    ]
    insecure: Annotated[bool, AfterValidator(_insecure), Field(validate_default=True, description="true or false")] = (
        False
    )
    prefix: Annotated[str, AfterValidator(_prefix), Field(description='a prefix of keys such as "/rainbowd/"')] = (
        "/rainbowd/"
    )
    member: Annotated[
        str | None,
        AfterValidator(lambda value: value if value is None else _name(value)),
        Field(description="a name of letters, digits and ._+-, or null for the name of the host"),
    ] = None
    rank: Annotated[int, Field(description="a whole number")] = 0
    user: Annotated[str | None, Field(min_length=1, description="a user of etcd, or null")] = None
    password_file: Annotated[FilePathOrOff, AfterValidator(_password_file), Field(validate_default=True)] = None
    ca_file: Annotated[FilePathOrOff, AfterValidator(_for_tls)] = None
    cert_file: Annotated[FilePathOrOff, AfterValidator(_for_tls)] = None
    key_file: Annotated[FilePathOrOff, AfterValidator(_key_file)] = None
    ttl: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False, validate_default=True, description="a number of seconds above 0"),
        Bounded,
        AfterValidator(_ttl),
    ] = 15
    grace: SecondsAboveZero = 60
    waves: Waves = "1,100%"
    parallel: Parallel = 1
    bake: Seconds = 10
    on_failure: OnFailure = "rollback"
    max_failures: Annotated[int, Field(ge=0, description="a whole number, 0 or more")] = 0
    max_error_rate: Annotated[
        float | None, Field(gt=0, le=1, description="a number above 0 and at most 1, or null")
    ] = None
    releases: FilePathOrOff = None

    @property
    def secret_files(self) -> dict[str, Path]:
        """The files that only the agent's account may read, by their keys."""
        key = "key_file" if self.key_file is not None else "cert_file"
        found = {"password_file": self.password_file, key: self.key_file or self.cert_file}
        return {name: path for name, path in found.items() if path is not None}

    @property
    def trusted_files(self) -> dict[str, Path]:
        """The files that only the agent's account may change, by their keys."""
        found = {"ca_file": self.ca_file, "cert_file": self.cert_file}
        return {name: path for name, path in found.items() if path is not None} | self.secret_files

    @property
    def member_name(self) -> str:
        """The name of this member: the host's name unless another one is configured."""
        return self.member or socket.gethostname()
