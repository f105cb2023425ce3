"""The checks of ``rainbowd check``: what a start or a launch would reject, and likely mistakes."""

from rainbowd.cli.checks.findings import Findings, check_config

__all__ = ["Findings", "check_config"]
