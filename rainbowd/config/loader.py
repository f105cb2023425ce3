"""The loader: from the file to the models, and from the validator's errors to lines that a user can act on."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from rainbowd.config.account import ROOT, NeedsRoot, find_account
from rainbowd.config.deploy_access import check_only_root_writes
from rainbowd.config.fleet import FleetSettings
from rainbowd.config.legacy import translate
from rainbowd.config.models import Config, Limits
from rainbowd.config.problems import describe_problem, describe_problems
from rainbowd.config_paths import lasting_path, real_directory
from rainbowd.errors import ConfigError, UsageError
from rainbowd.json_file import format_value, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    Location = tuple[int | str, ...]

RESTART_KEYS = (
    "listen",
    "workers",
    "api",
    "fleet",
    "release",
    "trigger_file",
    "log",
    "name",
    "error_pages",
    "maintenance",
    "pause_file",
    "state_dir",
)
"""The keys that an agent reads only when it starts."""

COMMENT = "//"
"""The key of a comment, in any object of the file."""


@dataclass(frozen=True)
class LoadedConfig:
    """A valid config, with the JSON that it was made from.

    Attributes:
        config: the validated models.
        warnings: for the owner of the file, a line each.
        source: the content of the file as JSON, including its secrets.
    """

    config: Config
    warnings: tuple[str, ...]
    source: Mapping[str, object] = field(default_factory=dict)


def load(path: Path, *, is_for_root: bool = False) -> LoadedConfig:
    """Read and validate a config file; an agent that runs as root refuses one that other accounts can change.

    Args:
        path: of the file.
        is_for_root: accept an account that only root can switch to, for a check by another user.

    Raises:
        ConfigError: with every problem, a line each: ``FILE: KEY.PATH: found X; expected Y``.
    """
    if os.geteuid() == ROOT:  # before reading it: afterwards it could be another file
        check_only_root_writes(path, expected="a JSON file")
    return validate(read_json(path), path, is_for_root=is_for_root)


def validate(source: Mapping[str, object], path: Path, *, is_for_root: bool = False) -> LoadedConfig:
    """Validate the content of a config file, or one that a generation was launched with.

    Args:
        source: the content as JSON.
        path: of the file, for the messages and for relative paths.
        is_for_root: as for ``load``.

    Raises:
        ConfigError: as ``load``.
    """
    data = _without_comments(source)
    data.pop("$schema", None)  # for editors only
    problems, warnings = translate(data, path.name)
    if not problems:
        problems += _check_choice(data)
    config: Config | None = None
    try:
        config = Config.model_validate(data, context=_bases(path))
    except ValidationError as error:
        problems = describe_problems(error, data, problems)
    problems += _account_problems(config, is_for_root=is_for_root)
    if config is None or problems:
        raise ConfigError(*(f"{path}: {problem}" for problem in problems))
    return LoadedConfig(config, tuple(f"{path}: {warning}" for warning in warnings), source)


def _without_comments(source: Mapping[str, object]) -> dict[str, object]:
    """Return a copy without the keys named ``//``, which are comments, as in npm's package.json."""
    return {
        key: _without_comments(value) if isinstance(value, dict) else deepcopy(value)
        for key, value in source.items()
        if key != COMMENT
    }


def _bases(path: Path) -> dict[str, Path]:
    """Return the directories that relative paths in the config file are relative to."""
    return {"base": real_directory(path), "release_base": lasting_path(path).parent}


def _check_choice(data: dict[str, object]) -> list[str]:
    given = [key for key in ("health", "warmup") if data.get(key) is not None]
    if len(given) == 1:
        return []
    found = "both health and warmup" if given else "neither health nor warmup"
    return [f"health: found {found}; expected exactly one of the two"]


def _account_problems(config: Config | None, *, is_for_root: bool) -> list[str]:
    try:
        if config is not None:
            find_account(config.user, config.group)
    except NeedsRoot as error:
        return [] if is_for_root else list(error.problems)
    except ConfigError as error:
        return list(error.problems)
    return []


def restart_needed(old: Config, new: Config) -> list[str]:
    """Return the keys that differ between ``old`` and ``new``, and that an agent reads only when it starts."""
    return [key for key in RESTART_KEYS if getattr(old, key) != getattr(new, key)]


def load_fleet(path: Path) -> FleetSettings:
    """Read and validate a file that contains the value of ``fleet`` alone, for a machine that is no member.

    Args:
        path: of the file.

    Raises:
        ConfigError: with every problem, a line each.
    """
    data = _without_comments(read_json(path))
    try:
        return FleetSettings.model_validate(data, context=_bases(path))
    except ValidationError as error:
        located: list[ErrorDetails] = [{**details, "loc": ("fleet", *details["loc"])} for details in error.errors()]
        problems = (describe_problem(details, {"fleet": data}) for details in located)
        raise ConfigError(*(f"{path}: {problem}" for problem in problems)) from None


def parse_limits(assignments: list[str]) -> Limits:
    """Return the limits that ``--limit`` options set.

    Args:
        assignments: ``NAME=VALUE`` each, with values as in the file; ``null`` turns a limit off.

    Raises:
        UsageError: a name is unknown, or a value is invalid.
    """
    data: dict[str, object] = {}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        try:
            data[name] = json.loads(text)
        except ValueError:
            raise UsageError(f"--limit: found {format_value(assignment)}; expected NAME=NUMBER or NAME=null") from None
    try:
        return Limits.model_validate(data)
    except ValidationError as error:
        problems = [describe_problem({**details, "loc": ("limits", *details["loc"])}, {}) for details in error.errors()]
        raise UsageError("\n".join(f"--limit: {problem}" for problem in problems)) from None
