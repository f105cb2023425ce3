"""All checks of one config."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rainbowd.cli.checks.findings import Findings
from rainbowd.cli.checks.launch import check_launch
from rainbowd.cli.checks.placeholders import check_commands, check_environment
from rainbowd.cli.checks.start import check_start
from rainbowd.cli.start_api import require_api_packages
from rainbowd.config import cautions, doubtful_lines, exposure_problems, read_env_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rainbowd.config import Config


def check_config(config: Config, *, is_for_root: bool = False) -> Findings:
    """Check a config as a start and a launch would, and change nothing.

    Args:
        config: the loaded config.
        is_for_root: the agent will run as root, and this process does not: files that only root can read, and what a
            start opens, are not checked.

    Returns:
        The findings.
    """
    found = Findings(warnings=cautions(config))
    env_file: Mapping[str, str] = {}
    is_closed = (
        is_for_root and config.env_file is not None and not os.access(config.env_file, os.R_OK, effective_ids=True)
    )

    def read() -> None:
        nonlocal env_file
        if config.env_file is not None and not is_closed:
            env_file = read_env_file(config.env_file)
            found.warnings += [f"env_file: {line}" for line in doubtful_lines(config.env_file)]

    found.attempt("env_file", read)
    is_known = not found.problems and not is_closed
    check_commands(config, found)
    check_environment(config, env_file, found)
    check_launch(config, env_file, found, is_known=is_known)
    if not is_for_root:
        check_start(config, found)
    found.problems += exposure_problems(config)
    if config.api.enabled:
        found.attempt("api", require_api_packages)
    return found
