"""``rainbowd.json``: what it may say, how it is read, and who may change what it leads to."""

from rainbowd.config.access import cautions, deployers, refuse_foreign_writers
from rainbowd.config.account import Account, find_account
from rainbowd.config.env_file import doubtful_lines, read_env_file
from rainbowd.config.exposure import exposures, refuse_open_api, token_directory
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
from rainbowd.config.placement import misplaced, refuse_foreign_state, refuse_misplaced, system_state_dir
from rainbowd.config.values import PortRange, StatusRanges
from rainbowd.permissions import Writers, has_acl, user_name

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
    "misplaced",
    "parse_limits",
    "plain",
    "read_env_file",
    "refuse_foreign_state",
    "refuse_foreign_writers",
    "refuse_misplaced",
    "refuse_open_api",
    "restart_needed",
    "system_state_dir",
    "token_directory",
    "user_name",
    "with_overrides",
]
