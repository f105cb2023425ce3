"""``rainbowd.json``: what it may say, how it is read, and who may change what it leads to."""

from rainbowd.config.access import Writers, cautions, deployers, has_acl, refuse_foreign_writers, user_name
from rainbowd.config.account import Account, find_account
from rainbowd.config.env_file import doubtful_lines, read_env_file
from rainbowd.config.exposure import exposures, refuse_open_api
from rainbowd.config.loading import Loaded, interpret, load, parse_limits, plain, restart_needed, with_overrides
from rainbowd.config.models import (
    DEFAULT_TRUST,
    Api,
    Config,
    Drain,
    Health,
    Hold,
    Hooks,
    Limits,
    Liveness,
    LogSettings,
    default_trust,
)
from rainbowd.config.values import PortRange, StatusRanges

__all__ = [
    "DEFAULT_TRUST",
    "Account",
    "Api",
    "Config",
    "Drain",
    "Health",
    "Hold",
    "Hooks",
    "Limits",
    "Liveness",
    "Loaded",
    "LogSettings",
    "PortRange",
    "StatusRanges",
    "Writers",
    "cautions",
    "default_trust",
    "deployers",
    "doubtful_lines",
    "exposures",
    "find_account",
    "has_acl",
    "interpret",
    "load",
    "parse_limits",
    "plain",
    "read_env_file",
    "refuse_foreign_writers",
    "refuse_open_api",
    "restart_needed",
    "user_name",
    "with_overrides",
]
