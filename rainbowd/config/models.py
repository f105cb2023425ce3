"""The config's models: frozen, with a description of the valid values of each key.

The description of a field completes the sentence "found ...; expected ..." in every error about it.  The annotations
in this file are not strings, because pydantic would compile each string at every start.
"""

from ipaddress import IPv4Network, IPv6Network
from signal import Signals
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from rainbowd.config import parsers
from rainbowd.config.fleet import FleetSettings
from rainbowd.config.parsers import PortRange, StatusRanges
from rainbowd.config.types import (
    AppLog,
    AssetPrefixes,
    Bounded,
    CanaryBy,
    CanarySteps,
    Command,
    CommandOrOff,
    CompanionCommand,
    CountOrOff,
    Environment,
    FilePath,
    FilePathOrOff,
    Headers,
    HealthPath,
    Host,
    Listen,
    Listens,
    NameOfApp,
    NameOrOff,
    Networks,
    PathAsObject,
    ProcessName,
    Seconds,
    SecondsAboveZero,
    SecondsAsObject,
    SecondsOrOff,
    Signal,
    Workers,
)
from rainbowd.config_paths import (
    DEFAULT_MAINTENANCE_FILE,
    DEFAULT_PAUSE_FILE,
    DEFAULT_RELEASE,
    DEFAULT_STATE_DIR,
    DEFAULT_TRIGGER_FILE,
)

DEFAULT_API = "127.0.0.1:7001"
DEFAULT_TRUST = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def default_trust() -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the peers that are trusted by default: those on this machine."""
    return DEFAULT_TRUST


class _Model(BaseModel):
    """A base with the types of JSON (``"5"`` and ``true`` are not numbers), no unknown keys and no changes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Liveness(_Model):
    """The check of the live generation, every ``interval`` seconds; ``failures`` in a row replace it."""

    interval: SecondsAboveZero = 10
    failures: Annotated[int, Field(ge=1, description="a whole number, 1 or more")] = 3


class Health(_Model):
    """The health check that a candidate must pass; times in seconds."""

    path: HealthPath
    host: Host = "localhost"
    headers: Headers = {}
    status: Annotated[
        StatusRanges,
        PlainValidator(parsers.parse_status),
        Field(description='status codes such as "200-299,401"'),
    ] = StatusRanges.parse("200-299")
    interval: SecondsAboveZero = 0.25
    timeout: SecondsAboveZero = 5
    passes: Annotated[int, Field(ge=1, description="a whole number, 1 or more")] = 1
    deadline: SecondsAboveZero = 60
    liveness: Annotated[Liveness | None, Field(description="an object, or null")] = None


class Drain(_Model):
    """The time limits and the signal with which a replaced generation ends; times in seconds."""

    timeout: Seconds = 60
    tunnels: Seconds = 30
    stop: Seconds = 25
    signal: Signal = Signals.SIGTERM
    kill_after: Seconds = 10


class Bake(_Model):
    """The watch over a release after it went live; ``seconds`` 0 is none."""

    seconds: Seconds = 0
    max_error_rate: Annotated[
        float, Field(ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1, such as 0.05 for 5 %")
    ] = 0.05
    min_errors: Annotated[int, Field(ge=1, description="a whole number, 1 or more")] = 5


class Canary(_Model):
    """The shares of the traffic that a release gets before it goes live, each for ``seconds``."""

    steps: CanarySteps = ()
    seconds: SecondsAboveZero = 30
    by: CanaryBy = "client"


class Maintenance(_Model):
    """The file that puts the site into maintenance, and the clients that pass meanwhile."""

    file: FilePathOrOff = Field(default=DEFAULT_MAINTENANCE_FILE, validate_default=True)
    retry_after: Annotated[int, Field(ge=0, description="a whole number of seconds, 0 or more")] = 120
    allow: Networks = ()


class Hold(_Model):
    """The limits for requests that wait while nothing is live and a launch is in progress; ``timeout`` in seconds."""

    timeout: Seconds = 10
    limit: Annotated[int, Field(ge=0, description="a whole number, 0 or more")] = 1000


class Limits(_Model):
    """The limits of what the proxy accepts from clients; times in seconds; None is no limit."""

    head_bytes: CountOrOff = 65536
    headers: CountOrOff = 128
    body_bytes: CountOrOff = None
    connections: CountOrOff = 10000
    head_timeout: SecondsOrOff = 10
    idle_timeout: SecondsOrOff = 180
    body_timeout: SecondsOrOff = 60
    response_timeout: SecondsOrOff = 60


class ProcessStop(_Model):
    """The signal that asks a companion process to end, and the seconds after which it is killed."""

    signal: Signal = Signals.SIGTERM
    kill_after: Seconds = 60


class ProcessSettings(_Model):
    """A companion process of the app, such as a worker or a scheduler; it starts and ends with its release.

    ``overlap`` False: the processes of two generations never run at the same time.
    """

    run: CompanionCommand
    instances: Annotated[int, Field(ge=1, le=64, description="a whole number from 1 to 64")] = 1
    overlap: Annotated[bool, Field(description="true or false")] = True
    stop: Annotated[ProcessStop, Field(description="an object")] = ProcessStop()
    env: Environment = {}


class HookSettings(_Model):
    """The commands that run around a deploy; ``timeout`` in seconds for each of them.

    ``on_rollback``: whether a rollback runs ``before_launch`` again if it has succeeded for that release before.
    """

    before_launch: CommandOrOff = None
    after_live: CommandOrOff = None
    after_failure: CommandOrOff = None
    fetch: CommandOrOff = None
    on_rollback: Annotated[bool, Field(description="true or false")] = False
    timeout: SecondsAboveZero = 600


class ApiSettings(_Model):
    """The settings of the REST API; ``token_file`` None: the agent creates a token in the state directory."""

    enabled: Annotated[bool, Field(description="true or false")] = False
    listen: Listen = Field(default=DEFAULT_API, validate_default=True)
    token_file: FilePathOrOff = None


class LogSettings(_Model):
    """The settings of the log; ``app`` is where the app's own output goes."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description='one of "debug", "info", "warning", "error"'),
    ] = "info"
    format: Annotated[Literal["auto", "json"], Field(description='"auto" or "json"')] = "auto"
    access: Annotated[bool, Field(description="true or false")] = False
    app: AppLog = "stdout"


class Config(_Model):
    """The whole of ``rainbowd.json``; paths are absolute, and their symlinks are not resolved."""

    run: Command
    name: NameOfApp = None
    release: FilePath = Field(default=DEFAULT_RELEASE, validate_default=True)
    trigger_file: FilePathOrOff = Field(default=DEFAULT_TRIGGER_FILE, validate_default=True)
    listen: Listens = Field(default="0.0.0.0:7000", validate_default=True)
    ports: Annotated[
        PortRange,
        PlainValidator(parsers.parse_ports),
        Field(description='two ports from 1 to 65535 such as "20000-29999"'),
    ] = PortRange(20000, 29999)
    env: Environment = {}
    env_file: FilePathOrOff = None
    health: Annotated[
        Health | None,
        PathAsObject,
        Field(description='a path such as "/up", or an object that has one'),
    ] = None
    warmup: Annotated[
        float | None, Field(ge=0, allow_inf_nan=False, description="a number of seconds, 0 or more"), Bounded
    ] = None
    user: NameOrOff = None
    group: NameOrOff = None
    drain: Annotated[Drain, Field(description="an object")] = Drain()
    standby: Seconds = 0
    bake: Annotated[Bake, SecondsAsObject, Field(description="a number of seconds, 0 or more, or an object")] = Bake()
    canary: Annotated[Canary, Field(description="an object")] = Canary()
    workers: Workers = 1
    max_generations: Annotated[int, Field(ge=2, description="a whole number, 2 or more")] = 10
    hold: Annotated[Hold, Field(description="an object")] = Hold()
    limits: Annotated[Limits, Field(description="an object")] = Limits()
    hooks: Annotated[HookSettings, Field(description="an object")] = HookSettings()
    processes: Annotated[dict[ProcessName, ProcessSettings], Field(description="an object of companion processes")] = {}
    api: Annotated[ApiSettings, Field(description="an object")] = ApiSettings()
    fleet: Annotated[FleetSettings | None, Field(description="an object, or null")] = None
    trust: Networks = DEFAULT_TRUST
    assets: AssetPrefixes = ()
    error_pages: FilePathOrOff = None
    maintenance: Annotated[Maintenance | None, Field(description="an object, or null")] = Field(
        default={}, validate_default=True
    )
    pause_file: FilePathOrOff = Field(default=DEFAULT_PAUSE_FILE, validate_default=True)
    state_dir: FilePath = Field(default=DEFAULT_STATE_DIR, validate_default=True)
    log: Annotated[LogSettings, Field(description="an object")] = LogSettings()

    @property
    def uses_socket(self) -> bool:
        """Whether a generation listens on a Unix socket instead of a port."""
        return parsers.wants_socket(self.run, self.env)
