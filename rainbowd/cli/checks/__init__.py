"""The checks of ``rainbowd check``: what a start or a launch would reject, and likely mistakes."""

from rainbowd.cli.checks.check_config import check_config
from rainbowd.cli.checks.findings import Findings

__all__ = ["Findings", "check_config"]
