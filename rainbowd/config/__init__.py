"""The configuration in ``rainbowd.json``: its models, its loader, and the permissions of the files it names."""

from rainbowd.config.account import Account, NeedsRoot, find_account
from rainbowd.config.api_exposure import check_api_exposure, exposure_problems, token_directory
from rainbowd.config.deploy_access import cautions, check_only_root_writes, deployers
from rainbowd.config.env_file import doubtful_lines, read_env_file
from rainbowd.config.fleet import FleetSettings
from rainbowd.config.loader import (
    LoadedConfig,
    load,
    load_fleet,
    parse_limits,
    restart_needed,
    validate,
)
from rainbowd.config.models import (
    DEFAULT_TRUST,
    ApiSettings,
    Bake,
    Canary,
    Config,
    Drain,
    Health,
    Hold,
    HookSettings,
    Limits,
    Liveness,
    LogSettings,
    Maintenance,
    ProcessSettings,
    ProcessStop,
    default_trust,
)
from rainbowd.config.overrides import with_overrides
from rainbowd.config.parsers import PortRange, StatusRanges
from rainbowd.config.path_checks import check_paths, check_state_dir, path_problems, system_state_dir
from rainbowd.config.redaction import redacted
from rainbowd.config.types import FOREVER_SECONDS
from rainbowd.permissions import Writers, has_acl, user_name

__all__ = [
    "DEFAULT_TRUST",
    "FOREVER_SECONDS",
    "Account",
    "ApiSettings",
    "Bake",
    "Canary",
    "Config",
    "Drain",
    "FleetSettings",
    "Health",
    "Hold",
    "HookSettings",
    "Limits",
    "Liveness",
    "LoadedConfig",
    "LogSettings",
    "Maintenance",
    "NeedsRoot",
    "PortRange",
    "ProcessSettings",
    "ProcessStop",
    "StatusRanges",
    "Writers",
    "cautions",
    "check_api_exposure",
    "check_only_root_writes",
    "check_paths",
    "check_state_dir",
    "default_trust",
    "deployers",
    "doubtful_lines",
    "exposure_problems",
    "find_account",
    "has_acl",
    "load",
    "load_fleet",
    "parse_limits",
    "path_problems",
    "read_env_file",
    "redacted",
    "restart_needed",
    "system_state_dir",
    "token_directory",
    "user_name",
    "validate",
    "with_overrides",
]
