"""``rainbowd.json``: what it may say, how it is read, and who may change what it leads to."""

from rainbowd.config.account import Account, find_account
from rainbowd.config.deploy_access import cautions, check_only_root_writes, deployers
from rainbowd.config.env_file import doubtful_lines, read_env_file
from rainbowd.config.exposure import check_api_exposure, exposures, token_directory
from rainbowd.config.loader import LoadedConfig, interpret, load, parse_limits, plain, restart_needed, with_overrides
from rainbowd.config.models import (
    DEFAULT_TRUST,
    ApiSettings,
    Config,
    Drain,
    Health,
    Hold,
    HookSettings,
    Limits,
    Liveness,
    LogSettings,
    default_trust,
)
from rainbowd.config.parsers import PortRange, StatusRanges
from rainbowd.config.placement import misplaced, refuse_foreign_state, refuse_misplaced, system_state_dir
from rainbowd.permissions import Writers, has_acl, user_name

__all__ = [
    "DEFAULT_TRUST",
    "Account",
    "ApiSettings",
    "Config",
    "Drain",
    "Health",
    "Hold",
    "HookSettings",
    "Limits",
    "Liveness",
    "LoadedConfig",
    "LogSettings",
    "PortRange",
    "StatusRanges",
    "Writers",
    "cautions",
    "check_api_exposure",
    "check_only_root_writes",
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
    "refuse_misplaced",
    "restart_needed",
    "system_state_dir",
    "token_directory",
    "user_name",
    "with_overrides",
]
